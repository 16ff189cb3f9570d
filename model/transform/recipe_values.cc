#include "model/transform/recipe_values.h"

#include <utility>
#include <variant>

#include "absl/types/span.h"
#include "model/status_macros.h"
#include "model/transform/random_values.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {

RecipeValues::RecipeValues(const std::vector<SourceModel>& models, TensorSpec spec,
                           const UpcycleOptions& options)
    : models_(models),
      spec_(std::move(spec)),
      recipe_(RecipeOf(spec_, options)),
      random_seed_(options.random_seed) {}

absl::StatusOr<std::vector<float>> RecipeValues::Rows(int64_t first, int64_t rows) const {
  return std::visit([&](const auto& recipe) { return Get(recipe, first, rows); }, recipe_);
}

absl::StatusOr<std::vector<float>> RecipeValues::Get(const CopiedTensor& recipe, int64_t first,
                                                     int64_t rows) const {
  const Checkpoint& checkpoint = *models_[recipe.model].checkpoint;
  return ReadFloatRows(checkpoint, *checkpoint.Find(recipe.tensor), first, rows);
}

// A sum of f32 values is exact in f64 for as many models as there may be, if they are the same: so
// is then the average, of any number of them.
absl::StatusOr<std::vector<float>> RecipeValues::Get(const AveragedTensor& recipe, int64_t first,
                                                     int64_t rows) const {
  std::vector<double> sums(rows * RowElements(spec_.shape));
  for (const SourceModel& model : models_) {
    ASSIGN_OR_RETURN(
        const std::vector<float> values,
        ReadFloatRows(*model.checkpoint, *model.checkpoint->Find(recipe.tensor), first, rows));
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  }
  std::vector<float> averages(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    averages[i] = static_cast<float>(sums[i] / static_cast<double>(models_.size()));
  }
  return averages;
}

absl::StatusOr<std::vector<float>> RecipeValues::Get(const RandomTensor& recipe, int64_t first,
                                                     int64_t rows) const {
  const int64_t elements = RowElements(spec_.shape);
  std::vector<float> values(rows * elements);
  RandomValues(random_seed_, spec_.name, recipe.standard_deviation)
      .Fill(first * elements, absl::MakeSpan(values));
  return values;
}

absl::StatusOr<std::vector<float>> RecipeValues::Get(const ConstantTensor& recipe, int64_t,
                                                     int64_t rows) const {
  return std::vector<float>(rows * RowElements(spec_.shape), recipe.value);
}

}  // namespace peerage::transform
