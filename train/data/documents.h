#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage::train {

// The files that these paths name: files themselves, and of directories the .txt and .jsonl files
// that are in them or below, in the order of their names. A path that names none is an error.
absl::StatusOr<std::vector<std::string>> TextFiles(const std::vector<std::string>& paths);

// Calls take(text) for each document of a file: of a .jsonl file the string under `text_key` in the
// object of every line, of any other the whole file. Errors name file and line.
using TakeDocument = std::function<absl::Status(absl::string_view text)>;
absl::Status ReadDocuments(const std::string& path, const std::string& text_key,
                           const TakeDocument& take);

}  // namespace peerage::train
