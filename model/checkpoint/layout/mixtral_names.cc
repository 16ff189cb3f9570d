#include "model/checkpoint/layout/mixtral_names.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace peerage {
namespace {

// An expert's matrices. Packed they are tensors of all experts: [experts, 2 * width, hidden], an
// expert's gate rows before its up rows, and [experts, hidden, width].
struct Matrix {
  absl::string_view canonical;
  absl::string_view mixtral;
  absl::string_view packed;
  int64_t count;  // of an expert's matrices in the packed tensor
  int64_t index;  // of this one
};

constexpr absl::string_view kPackedGateUp = "mlp.experts.gate_up_proj";
constexpr absl::string_view kPackedDown = "mlp.experts.down_proj";
constexpr Matrix kMatrices[] = {{"gate_proj.weight", "w1.weight", kPackedGateUp, 2, 0},
                                {"up_proj.weight", "w3.weight", kPackedGateUp, 2, 1},
                                {"down_proj.weight", "w2.weight", kPackedDown, 1, 0}};

}  // namespace

void MixtralNames::StoreIn(absl::string_view name, TensorSpec& spec) const {
  absl::ConsumePrefix(&name, "ffn.mixture.");
  if (name == "router.weight") {
    spec.parts[0].name = packed ? "mlp.gate.weight" : "block_sparse_moe.gate.weight";
    return;
  }
  absl::ConsumePrefix(&name, "experts.");
  const size_t digits = name.find('.');
  int64_t expert = 0;
  if (digits == name.npos || !absl::SimpleAtoi(name.substr(0, digits), &expert)) return;
  for (const Matrix& matrix : kMatrices) {
    if (name.substr(digits + 1) != matrix.canonical) continue;
    if (!packed) {
      spec.parts[0].name = absl::StrCat("block_sparse_moe.experts.", expert, ".", matrix.mixtral);
      return;
    }
    const int64_t rows = spec.shape[0], columns = spec.shape[1];
    spec.parts[0] = {std::string(matrix.packed), {num_experts, matrix.count * rows, columns}};
    spec.transform = PartSlice{(matrix.count * expert + matrix.index) * rows * columns};
  }
}

bool HoldsPackedExperts(absl::string_view name) {
  return absl::EndsWith(name, kPackedGateUp) || absl::EndsWith(name, kPackedDown);
}

}  // namespace peerage
