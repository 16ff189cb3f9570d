#include "train/data/documents.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage::train {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTextBytes = uint64_t{16} << 30;

bool IsJsonLines(const std::string& path) { return absl::EndsWith(path, ".jsonl"); }

absl::Status AddFilesBelow(const std::string& directory, std::vector<std::string>& files) {
  const size_t before = files.size();
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().string();
    if (IsJsonLines(path) || absl::EndsWith(path, ".txt")) files.push_back(path);
  }
  if (error) return absl::UnknownError(absl::StrCat(directory, ": ", error.message()));
  if (files.size() == before) {
    return absl::NotFoundError(absl::StrCat(directory, ": holds no .txt and no .jsonl files"));
  }
  std::sort(files.begin() + before, files.end());
  return absl::OkStatus();
}

absl::Status TakeLine(absl::string_view line, const std::string& text_key,
                      const TakeDocument& take) {
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseStrictJson(line));
  const auto text = value.is_object() ? value.find(text_key) : value.end();
  if (!value.is_object() || text == value.end() || !text->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("is no JSON object with a string under ",
                                                   Quoted(text_key), " (data.text_key)"));
  }
  return take(text->get_ref<const std::string&>());
}

}  // namespace

absl::StatusOr<std::vector<std::string>> TextFiles(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      RETURN_IF_ERROR(AddFilesBelow(path, files));
    } else if (fs::exists(path, error)) {
      files.push_back(path);
    } else {
      return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
    }
  }
  return files;
}

absl::Status ReadDocuments(const std::string& path, const std::string& text_key,
                           const TakeDocument& take) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxTextBytes));
  if (!IsJsonLines(path)) return At(path, take(text));
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    RETURN_IF_ERROR(At(absl::StrCat(path, ":", number), TakeLine(line, text_key, take)));
  }
  return absl::OkStatus();
}

}  // namespace peerage::train
