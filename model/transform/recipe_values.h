#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/tensor_spec.h"
#include "model/transform/source_models.h"
#include "model/transform/tensor_recipe.h"

namespace peerage::transform {

// Computes the values of one tensor of the new model from its recipe.
// Ownership: the models outlive it.
class RecipeValues {
 public:
  RecipeValues(const std::vector<SourceModel>& models, TensorSpec spec,
               const UpcycleOptions& options);

  const TensorSpec& spec() const { return spec_; }
  int64_t rows() const { return spec_.shape.front(); }

  // Rows [first, first + rows) of the first dimension.
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

  const std::vector<SourceModel>& models_;
  const TensorSpec spec_;
  const TensorRecipe recipe_;
  const uint64_t random_seed_;
};

}  // namespace peerage::transform
