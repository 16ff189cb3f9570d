#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/layout/tensor_spec.h"
#include "model/transform/upcycle/prompt_routers.h"
#include "model/transform/upcycle/source_models.h"
#include "model/transform/upcycle/tensor_recipe.h"

namespace peerage::transform {

// Computes the values of one tensor of the new model from its recipe.
// Ownership: models and routers outlive it.
class RecipeValues {
 public:
  struct Sources {
    const std::vector<SourceModel>& models;
    const PromptRouters& routers;
  };
  RecipeValues(const Sources& sources, TensorSpec spec, const UpcycleOptions& options);

  const TensorSpec& spec() const { return spec_; }
  int64_t rows() const { return spec_.shape.front(); }

  // Rows [first, first + rows) of the first dimension. A NaN or an infinity that would be averaged
  // is an error that names model and tensor.
  absl::StatusOr<std::vector<float>> Rows(int64_t first, int64_t rows) const;

 private:
  absl::StatusOr<std::vector<float>> Get(const CopiedTensor& recipe, int64_t first,
                                         int64_t rows) const;
  absl::StatusOr<std::vector<float>> Get(const AveragedTensor& recipe, int64_t first,
                                         int64_t rows) const;
  absl::StatusOr<std::vector<float>> Get(const RandomTensor& recipe, int64_t first,
                                         int64_t rows) const;
  absl::StatusOr<std::vector<float>> Get(const ConstantTensor& recipe, int64_t first,
                                         int64_t rows) const;
  absl::StatusOr<std::vector<float>> Get(const GivenTensor& recipe, int64_t first,
                                         int64_t rows) const;

  const Sources sources_;
  const TensorSpec spec_;
  const TensorRecipe recipe_;
  const uint64_t random_seed_;
};

}  // namespace peerage::transform
