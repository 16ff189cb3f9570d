#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/transform/convert/name_pattern.h"

namespace peerage::transform {

// The lines of a rename file, one NamePattern each; blank lines and what follows a # are comments.
// The first `->` that matches a name renames it; every `=>` before it that matches does, too.
class NameMapping {
 public:
  // An error names the line.
  static absl::StatusOr<NameMapping> Parse(absl::string_view text);

  struct Renamed {
    std::vector<std::string> names;  // one; several that the tensor's rows are divided among
    std::vector<size_t> patterns;    // that matched; indices
    // Whether the name is said to be right: by a `->`, or by a `=>` where there is no `->` at all.
    bool matched = false;
  };
  Renamed Rename(absl::string_view name) const;

  const std::vector<NamePattern>& patterns() const { return patterns_; }

 private:
  std::vector<NamePattern> patterns_;
};

}  // namespace peerage::transform
