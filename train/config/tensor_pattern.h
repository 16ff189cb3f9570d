#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/transform/convert/name_pattern.h"

namespace peerage::train {

// "model.layers.*.ffn.peer.**": names of tensors. A `*` stands for one or more characters other
// than a dot, `**` for any characters, none included, as in files of `peerage-model convert`.
class TensorPattern {
 public:
  static absl::StatusOr<TensorPattern> Parse(const std::string& text);

  bool Matches(absl::string_view name) const { return rename_.Rename(name).has_value(); }

 private:
  explicit TensorPattern(transform::NamePattern rename) : rename_(std::move(rename)) {}

  transform::NamePattern rename_;  // to the same name
};

}  // namespace peerage::train
