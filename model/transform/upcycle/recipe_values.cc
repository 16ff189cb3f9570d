#include "model/transform/upcycle/recipe_values.h"

#include <utility>
#include <variant>

#include "absl/types/span.h"
#include "base/error_text.h"
#include "model/transform/tensor_values.h"
#include "model/transform/upcycle/random_values.h"

namespace peerage::transform {

RecipeValues::RecipeValues(const Sources& sources, TensorSpec spec, const UpcycleOptions& options)
    : sources_(sources),
      spec_(std::move(spec)),
      recipe_(RecipeOf(spec_, options)),
      random_seed_(options.random_seed) {}

absl::StatusOr<std::vector<float>> RecipeValues::Rows(int64_t first, int64_t rows) const {
  return std::visit([&](const auto& recipe) { return Get(recipe, first, rows); }, recipe_);
}

absl::StatusOr<std::vector<float>> RecipeValues::Get(const CopiedTensor& recipe, int64_t first,
                                                     int64_t rows) const {
  const Checkpoint& checkpoint = *sources_.models[recipe.model].checkpoint;
  return ReadFloatRows(checkpoint, *checkpoint.Find(recipe.tensor), first, rows);
}

// A sum of f32 values is exact in f64 for as many models as there may be, if they are the same: so
// is then the average, of any number of them.
absl::StatusOr<std::vector<float>> RecipeValues::Get(const AveragedTensor& recipe, int64_t first,
                                                     int64_t rows) const {
  std::vector<double> sums(rows * RowElements(spec_.shape));
  for (const SourceModel& model : sources_.models) {
    const absl::StatusOr<std::vector<float>> values =
        ReadFiniteRows(*model.checkpoint, *model.checkpoint->Find(recipe.tensor), first, rows);
    if (!values.ok()) return At(model.path, values.status());
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += (*values)[i];
  }
  std::vector<float> averages(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    averages[i] = static_cast<float>(sums[i] / static_cast<double>(sources_.models.size()));
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

absl::StatusOr<std::vector<float>> RecipeValues::Get(const GivenTensor&, int64_t first,
                                                     int64_t rows) const {
  // Experts that have no prompts, because they are no model's, have rows of zero.
  std::vector<float> values = sources_.routers.values.at(spec_.name);
  const int64_t elements = RowElements(spec_.shape);
  values.resize(elements * spec_.shape.front());
  return std::vector<float>(values.begin() + first * elements,
                            values.begin() + (first + rows) * elements);
}

}  // namespace peerage::transform
