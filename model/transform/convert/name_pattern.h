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
//
// "attn.qkv.weight -> attention.{q,k,v}_proj.weight": names in braces are those of several tensors,
// whose rows the one tensor holds one after the other.
//
// "module.** => **": the lines that follow see the new name (a prefix is taken away so).
class NamePattern {
 public:
  // Both sides need as many wildcards, in the same order of kinds. Braces, once and of two names or
  // more, are for the replacement of a `->`.
  static absl::StatusOr<NamePattern> Parse(absl::string_view line);

  // The new names, one but for braces, when the pattern matches the whole of the name. Of several
  // ways to match, the one in which the first wildcards are shortest.
  std::optional<std::vector<std::string>> Rename(absl::string_view name) const;

  const std::string& text() const { return text_; }

  // Whether the line has a `=>`.
  bool goes_on() const { return goes_on_; }

 private:
  std::string text_;
  std::vector<std::string> from_;             // "blocks.", "*", ".mlp.keys"
  std::vector<std::vector<std::string>> to_;  // of each name
  bool goes_on_ = false;
};

}  // namespace peerage::transform
