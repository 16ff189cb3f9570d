#pragma once

#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "model/checkpoint/layout/tensor_spec.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

// Where the values of a tensor of the new model come from. `tensor` is a canonical name.

// The tensor of one source model.
struct CopiedTensor {
  int model = 0;
  std::string tensor;
};
// The uniform average over all source models, of which there are several.
struct AveragedTensor {
  std::string tensor;
};
struct RandomTensor {
  double standard_deviation = 0;
};
struct ConstantTensor {
  float value = 0;
};
// Computed before (prompt_routers.h).
struct GivenTensor {};

using TensorRecipe =
    std::variant<CopiedTensor, AveragedTensor, RandomTensor, ConstantTensor, GivenTensor>;

// Of a tensor in a model that UpcycledConfigJson describes.
TensorRecipe RecipeOf(const TensorSpec& spec, const UpcycleOptions& options);

}  // namespace peerage::transform
