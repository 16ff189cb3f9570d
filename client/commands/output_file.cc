#include "client/commands/output_file.h"

#include <fstream>

#include "absl/strings/str_cat.h"

namespace peerage::client {

absl::Status WriteFile(const std::string& path, const std::string& bytes, WriteMode mode) {
  const auto how = mode == WriteMode::kAppend ? std::ios::app : std::ios::trunc;
  std::ofstream file(path, std::ios::binary | how);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace peerage::client
