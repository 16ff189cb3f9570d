#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "model/checkpoint/layout/axis_swap.h"
#include "model/nn/plan/part.h"

namespace peerage {

using nn::TensorRole;

// One tensor of the file.
struct StoredPart {
  std::string name;
  std::vector<int64_t> shape;
};

// How a canonical tensor comes of its stored parts. All but the first three give f32.

// The one part's elements in their order, whatever its shape.
struct AsStored {};

// Elements of the one part in their order, from `first` on: one matrix of several.
struct PartSlice {
  int64_t first = 0;
};

// AxisSwap (axis_swap.h): the one part's elements in another order.

// The one part's elements plus one: a norm whose scale is stored around zero.
struct PlusOne {};

// For each of two halves a batch norm without scale and shift, folded into the matrix before it.
// Parts, of each half: the matrix [n, d] and the running variance [n].
struct FoldedRouterWeight {
  float epsilon = 0;
};
// The bias that the same fold gives. Parts, of each half: running mean and variance [n].
struct FoldedRouterBias {
  float epsilon = 0;
};

using TensorTransform =
    std::variant<AsStored, PartSlice, AxisSwap, PlusOne, FoldedRouterWeight, FoldedRouterBias>;

// Whether a canonical tensor's bytes are stored ones, in the part's dtype.
inline bool OnlyMovesBytes(const TensorTransform& transform) {
  return std::holds_alternative<AsStored>(transform) ||
         std::holds_alternative<PartSlice>(transform) ||
         std::holds_alternative<AxisSwap>(transform);
}

// One tensor that a model needs.
struct TensorSpec {
  std::string name;  // canonical (docs/model_format.md, tensors of `peerage`)
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kMatrix;
  std::vector<StoredPart> parts;
  TensorTransform transform = AsStored{};
};

}  // namespace peerage
