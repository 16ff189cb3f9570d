#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace peerage::transform {

// `convert.json`, which lies beside the model that convert wrote and says which files are its own:
// these, and nothing else, may be replaced by a further conversion.

// Writes it into a directory that holds the model's files and nothing else.
absl::Status WriteConversionRecord(const std::string& directory);

// The names of the files that an earlier conversion wrote into the directory, its record's
// included, and that a further one replaces; none where there is no directory, or one without a
// model. Without `force` a conversion's model is an error, with it one without a record, or with a
// record that names anything but files of the directory.
absl::StatusOr<std::vector<std::string>> ReplacedFiles(const std::string& directory, bool force);

}  // namespace peerage::transform
