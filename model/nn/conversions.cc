#include "model/nn/conversions.h"

#include "absl/strings/str_cat.h"

namespace peerage::nn {

std::vector<std::string> Conversions::Texts() const {
  std::vector<std::string> texts;
  for (const auto& [conversion, count] : counts_) {
    const auto& [from, of, to] = conversion;
    const absl::string_view one = of == Of::kMatrix ? "matrix" : "table";
    const absl::string_view many = of == Of::kMatrix ? "matrices" : "tables";
    texts.push_back(
        absl::StrCat(count, " ", Traits(from).name, " ", count == 1 ? one : many, " to ", to));
  }
  return texts;
}

}  // namespace peerage::nn
