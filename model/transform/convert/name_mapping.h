#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/transform/convert/name_pattern.h"

namespace peerage::transform {

// The lines of a rename file, one NamePattern each; blank lines and what follows a # are comments.
// The first pattern that matches a name renames it.
class NameMapping {
 public:
  // An error names the line.
  static absl::StatusOr<NameMapping> Parse(absl::string_view text);

  struct Renamed {
    std::string name;
    size_t pattern = 0;  // index
  };
  std::optional<Renamed> Rename(absl::string_view name) const;

  const std::vector<NamePattern>& patterns() const { return patterns_; }

 private:
  std::vector<NamePattern> patterns_;
};

}  // namespace peerage::transform
