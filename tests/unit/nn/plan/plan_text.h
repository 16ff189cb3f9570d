#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/nn/plan/part.h"

namespace peerage::nn {

// "attention.q_proj.weight 60x33 matrix": the name without that of its layer, the shape, the role.
inline std::string TextOf(const PlannedTensor& tensor) {
  const char* const kRoles[] = {"matrix", "norm", "router", "variance", "table"};
  std::string name = tensor.name;
  if (name.rfind("model.layers.", 0) == 0) name = name.substr(name.find('.', 13) + 1);
  return absl::StrCat(name, " ", absl::StrJoin(tensor.shape, "x"), " ",
                      kRoles[static_cast<int>(tensor.role)]);
}

inline std::vector<std::string> TextsOf(const std::vector<PlannedTensor>& tensors) {
  std::vector<std::string> texts;
  for (const PlannedTensor& tensor : tensors) texts.push_back(TextOf(tensor));
  return texts;
}

// "experts.2.q 20+20" for 20 rows from row 20 on, the name without what all attentions have.
inline std::vector<std::string> TextsOf(const MatrixSource& source) {
  std::vector<std::string> texts;
  for (const MatrixSlice& slice : source.slices) {
    std::string name = slice.tensor;
    for (const char* common : {"model.layers.0.", "attention.", "_proj.weight"}) {
      const size_t at = name.find(common);
      if (at != std::string::npos) name.erase(at, std::string(common).size());
    }
    texts.push_back(absl::StrCat(name, " ", slice.first, "+", slice.count));
  }
  return texts;
}

}  // namespace peerage::nn
