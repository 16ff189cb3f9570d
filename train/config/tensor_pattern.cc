#include "train/config/tensor_pattern.h"

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage::train {

absl::StatusOr<TensorPattern> TensorPattern::Parse(const std::string& text) {
  // What the reader of renaming rules gives a meaning that no tensor's name needs.
  if (text.empty() || text.find_first_of("{}#> \t\n") != text.npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(text), ", which is no pattern of tensor names (model.layers.*.ffn.peer.**)"));
  }
  ASSIGN_OR_RETURN(transform::NamePattern rename,
                   transform::NamePattern::Parse(absl::StrCat(text, " -> ", text)));
  return TensorPattern(std::move(rename));
}

}  // namespace peerage::train
