#include "model/transform/upcycle/source_models.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/transform/dense_model.h"
#include "model/transform/tensor_values.h"
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

// Whether the tensor's values are the same in both, as the mixture is to store them. The first
// piece that differs ends it.
absl::StatusOr<bool> HaveSame(const Checkpoint& a, const Checkpoint& b, const TensorInfo& tensor,
                              TensorType dtype) {
  const TensorInfo& other = *b.Find(tensor.name);
  const int64_t at_once = std::max<int64_t>(1, kElementsAtOnce / RowElements(tensor.shape));
  for (int64_t first = 0; first < tensor.shape.front(); first += at_once) {
    const int64_t rows = std::min(at_once, tensor.shape.front() - first);
    ASSIGN_OR_RETURN(const std::vector<float> of_a, ReadFloatRows(a, tensor, first, rows));
    ASSIGN_OR_RETURN(const std::vector<float> of_b, ReadFloatRows(b, other, first, rows));
    std::vector<uint8_t> stored_a(RowBytes(dtype, of_a.size())), stored_b(stored_a.size());
    StoreFloats(dtype, of_a, absl::MakeSpan(stored_a));
    StoreFloats(dtype, of_b, absl::MakeSpan(stored_b));
    if (stored_a != stored_b) return false;
  }
  return true;
}

absl::StatusOr<bool> AreTheSame(const SourceModel& a, const SourceModel& b, TensorType dtype) {
  if (a.checkpoint == b.checkpoint || a.fingerprint == b.fingerprint) return true;
  for (const TensorInfo& tensor : a.checkpoint->tensors()) {
    ASSIGN_OR_RETURN(const bool same, HaveSame(*a.checkpoint, *b.checkpoint, tensor, dtype));
    if (!same) return false;
  }
  return true;
}

absl::Status CheckDifferent(const std::vector<SourceModel>& models, TensorType dtype) {
  for (size_t i = 0; i < models.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      ASSIGN_OR_RETURN(const bool same, AreTheSame(models[i], models[j], dtype));
      if (!same) continue;
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
  if (!options.allow_identical) RETURN_IF_ERROR(CheckDifferent(models, options.dtype));
  return models;
}

}  // namespace peerage::transform
