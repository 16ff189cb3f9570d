#include "model/transform/upcycle/source_models.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/transform/dense_model.h"
#include "model/transform/upcycle/model_comparison.h"

namespace peerage::transform {
namespace {

absl::StatusOr<SourceModel> Open(const NamedPath& named) {
  SourceModel model{.name = named.name, .path = named.path};
  ASSIGN_OR_RETURN(model.checkpoint, OpenCheckpoint(named.path));
  RETURN_IF_ERROR(At(named.path, CheckDense(model.checkpoint->config())));
  return model;
}

absl::Status CheckFits(const SourceModel& base, const SourceModel& model) {
  RETURN_IF_ERROR(CheckSameShape(base.checkpoint->config(), model.checkpoint->config()));
  return CheckSameTokenizer(base.checkpoint->tokenizer(), model.checkpoint->tokenizer());
}

std::vector<SourceModel> Repeat(const SourceModel& base, const UpcycleOptions& options) {
  std::vector<SourceModel> models;
  for (const std::string& name : options.ExpertNames()) models.emplace_back(base).name = name;
  return models;
}

absl::Status CheckDifferent(const std::vector<SourceModel>& models) {
  for (size_t i = 0; i < models.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (models[i].fingerprint != models[j].fingerprint) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("experts ", Quoted(models[j].name), " and ", Quoted(models[i].name),
                       " have the same weights, which --allow-identical would allow"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<SourceModel>> OpenSourceModels(const UpcycleOptions& options) {
  ASSIGN_OR_RETURN(const SourceModel base, Open(options.base));
  if (options.num_experts > 0) return Repeat(base, options);
  std::vector<SourceModel> models = {base};
  for (const NamedPath& named : options.experts) {
    ASSIGN_OR_RETURN(SourceModel model, Open(named));
    RETURN_IF_ERROR(
        At(absl::StrCat(named.path, " (expert ", Quoted(named.name), ")"), CheckFits(base, model)));
    models.push_back(std::move(model));
  }
  return models;
}

absl::StatusOr<std::vector<SourceModel>> WithFingerprints(std::vector<SourceModel> models,
                                                          const UpcycleOptions& options) {
  const SourceModel& base = models.front();
  for (SourceModel& model : models) {
    if (&model != &base && model.checkpoint == base.checkpoint) {
      model.fingerprint = base.fingerprint;
      continue;
    }
    ASSIGN_OR_RETURN(model.fingerprint, model.checkpoint->Fingerprint());
  }
  if (!options.allow_identical) RETURN_IF_ERROR(CheckDifferent(models));
  return models;
}

}  // namespace peerage::transform
