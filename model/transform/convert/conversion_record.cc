#include "model/transform/convert/conversion_record.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/container/new_file.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/transform/model_files.h"
#include "model/transform/new_model_directory.h"

namespace peerage::transform {
namespace {

namespace fs = std::filesystem;

constexpr char kRecordName[] = "convert.json";
constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 20;

absl::StatusOr<std::vector<std::string>> ParseFiles(const std::string& text) {
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseStrictJson(text));
  const auto files = value.find("files");
  std::vector<std::string> names;
  if (value.is_object() && files != value.end() && files->is_array()) {
    for (const nlohmann::json& file : *files) {
      const std::string name = file.is_string() ? file.get<std::string>() : "";
      if (name.empty() || name == "." || name == ".." || fs::path(name).filename() != name) {
        return absl::InvalidArgumentError("\"files\" holds what is no name of a file");
      }
      names.push_back(name);
    }
  }
  if (!names.empty()) return names;
  return absl::InvalidArgumentError("no list \"files\": it is not the record of a conversion");
}

}  // namespace

absl::Status WriteConversionRecord(const std::string& directory) {
  std::vector<std::string> files = {kRecordName};
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    files.push_back(entry->path().filename());
  }
  if (error) return absl::UnknownError(absl::StrCat(directory, ": ", error.message()));
  std::sort(files.begin(), files.end());
  return WriteTextFiles(
      directory,
      {JsonFile(kRecordName, {{"written_by", "peerage-model convert"}, {"files", files}})});
}

absl::StatusOr<std::vector<std::string>> ReplacedFiles(const std::string& directory, bool force) {
  const fs::path record = fs::path(directory) / kRecordName;
  std::error_code error;
  if (!force && fs::exists(record, error)) {
    return absl::AlreadyExistsError(absl::StrCat(
        directory, ": a model that convert wrote is there already; --force replaces it"));
  }
  if (!force) return std::vector<std::string>();
  const absl::StatusOr<std::string> text = ReadTextFile(record, kMaxRecordBytes);
  if (text.ok()) return At(record.string(), ParseFiles(*text));
  if (!absl::IsNotFound(text.status())) return text.status();
  if (NewModelDirectory::Check(directory).ok()) return std::vector<std::string>();
  return absl::AlreadyExistsError(
      absl::StrCat(directory, ": holds a model that convert did not write (there is no ",
                   kRecordName, "), which --force does not replace"));
}

}  // namespace peerage::transform
