#include "model/transform/source_models.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/config_limits.h"
#include "model/error_text.h"
#include "model/status_macros.h"
#include "model/transform/dense_model.h"
#include "model/transform/model_comparison.h"

namespace peerage::transform {
namespace {

bool IsNameCharacter(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; }

absl::Status CheckName(const std::string& name) {
  if (!name.empty() && std::all_of(name.begin(), name.end(), IsNameCharacter)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expert name ", Quoted(name), " is not made of letters, digits, '-', '_' and '.'"));
}

absl::StatusOr<SourceModel> Open(const NamedModel& named) {
  RETURN_IF_ERROR(CheckName(named.name));
  SourceModel model{.name = named.name, .path = named.path};
  ASSIGN_OR_RETURN(model.checkpoint, OpenCheckpoint(named.path));
  RETURN_IF_ERROR(At(named.path, CheckDense(model.checkpoint->config())));
  ASSIGN_OR_RETURN(model.fingerprint, model.checkpoint->Fingerprint());
  return model;
}

absl::Status CheckFits(const SourceModel& base, const SourceModel& model) {
  RETURN_IF_ERROR(CheckSameShape(base.checkpoint->config(), model.checkpoint->config()));
  return CheckSameTokenizer(base.checkpoint->tokenizer(), model.checkpoint->tokenizer());
}

absl::Status RefuseIdentical(const std::string& first, const std::string& second) {
  return absl::InvalidArgumentError(
      absl::StrCat("experts ", Quoted(first), " and ", Quoted(second),
                   " have the same weights, which --allow-identical would allow"));
}

absl::StatusOr<std::vector<SourceModel>> Repeat(const SourceModel& base,
                                                const UpcycleOptions& options) {
  std::vector<SourceModel> models(options.num_experts, base);
  for (size_t i = 1; i < models.size(); ++i) models[i].name = absl::StrCat(base.name, "-", i);
  if (models.size() > 1 && !options.allow_identical) {
    return RefuseIdentical(models[0].name, models[1].name);
  }
  return models;
}

absl::Status CheckDifferent(const std::vector<SourceModel>& models) {
  for (size_t i = 0; i < models.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (models[i].fingerprint == models[j].fingerprint) {
        return RefuseIdentical(models[j].name, models[i].name);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<SourceModel>> OpenSourceModels(const UpcycleOptions& options) {
  const int64_t count = options.num_experts > 0 ? options.num_experts : 1 + options.experts.size();
  if (count > kMixtureExpertsRange.max) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " experts; at most ", kMixtureExpertsRange.max));
  }
  ASSIGN_OR_RETURN(const SourceModel base, Open(options.base));
  if (options.num_experts > 0) return Repeat(base, options);
  std::vector<SourceModel> models = {base};
  for (const NamedModel& named : options.experts) {
    ASSIGN_OR_RETURN(SourceModel model, Open(named));
    RETURN_IF_ERROR(
        At(absl::StrCat(named.path, " (expert ", Quoted(named.name), ")"), CheckFits(base, model)));
    models.push_back(std::move(model));
  }
  if (!options.allow_identical) RETURN_IF_ERROR(CheckDifferent(models));
  return models;
}

}  // namespace peerage::transform
