#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage::transform {

// "blocks.*.mlp.keys -> model.layers.*.ffn.peer.keys". In the pattern a `*` stands for one or more
// characters other than a dot, and `**` for any characters, none included; everything else stands
// for itself. A wildcard of the replacement takes what the pattern's wildcard in the same place of
// the order stood for.
class NamePattern {
 public:
  // Both sides need as many wildcards, in the same order of kinds.
  static absl::StatusOr<NamePattern> Parse(absl::string_view line);

  // The new name, when the pattern matches the whole of the name. Of several ways to match, the
  // one in which the first wildcards are shortest.
  std::optional<std::string> Rename(absl::string_view name) const;

  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<std::string> from_;  // "blocks.", "*", ".mlp.keys"
  std::vector<std::string> to_;
};

}  // namespace peerage::transform
