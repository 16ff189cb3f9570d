#include "model/nn/conversions.h"

#include "absl/strings/str_cat.h"

namespace peerage::nn {
namespace {

constexpr float kDead = 0x1p-32f;  // of the largest value

}  // namespace

absl::Status CheckHeld(TensorType type, const kernels::RoundingLoss& loss) {
  const char* name = Traits(type).name;
  if (loss.overflown > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a value of magnitude ", loss.overflown, " is beyond the range of ", name));
  }
  if (loss.vanished <= kDead * loss.largest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a block whose largest magnitude is ", loss.vanished, " is too small for ", name,
                   ", whose scales are f16: it would be lost; f32 and bf16 hold it"));
}

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
