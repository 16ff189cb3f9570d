#include "server/identity/watched_files.h"

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage {

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  constexpr size_t kMostBytes = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const auto size = static_cast<size_t>(file.gcount());
  if (!file.is_open() || file.bad()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  }
  if (size > kMostBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is larger than a megabyte"));
  }
  text.resize(size);
  return text;
}

WatchedFiles::WatchedFiles(std::vector<std::string> paths)
    : paths_(std::move(paths)), contents_(Read()) {}

bool WatchedFiles::HaveChanged() {
  Contents now = Read();
  contents_.swap(now);
  return contents_ != now;
}

WatchedFiles::Contents WatchedFiles::Read() const {
  Contents contents;
  for (const std::string& path : paths_) {
    absl::StatusOr<std::string> text = ReadSmallFile(path);
    contents.push_back(text.ok() ? std::optional(*std::move(text)) : std::nullopt);
  }
  return contents;
}

}  // namespace peerage
