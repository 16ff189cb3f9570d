#include "model/checkpoint/tensor_binding.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "model/error_text.h"
#include "model/status_macros.h"

namespace peerage {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status CheckTensor(const TensorSpec& spec, const StoredTensor& stored) {
  if (stored.shape != spec.shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape ", ShapeText(stored.shape), ", but the config asks for ", ShapeText(spec.shape)));
  }
  if (!stored.type.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("dtype ", stored.dtype, " is not a weight's"));
  }
  if (spec.role != TensorRole::kMatrix && Traits(*stored.type).block_elements != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype ", stored.dtype, ", but only a matrix may be quantised"));
  }
  return absl::OkStatus();
}

bool IsIgnored(const ModelConfig& config, TensorNaming naming, absl::string_view name) {
  if (naming != TensorNaming::kLlama) return false;
  if (config.tied_embeddings && name == "lm_head.weight") return true;
  return absl::StartsWith(name, "model.layers.") && absl::EndsWith(name, ".rotary_emb.inv_freq");
}

}  // namespace

absl::StatusOr<TensorBinding> BindTensors(const ModelConfig& config, TensorNaming naming,
                                          std::vector<StoredTensor> stored) {
  std::map<absl::string_view, const StoredTensor*> unbound;
  for (const StoredTensor& tensor : stored) unbound.emplace(tensor.name, &tensor);
  TensorBinding binding;
  for (TensorSpec& spec : TensorLayout(config, naming)) {
    const std::string place = absl::StrCat("tensor ", Quoted(spec.stored_name));
    const auto found = unbound.find(spec.stored_name);
    if (found == unbound.end()) return At(place, absl::InvalidArgumentError("is missing"));
    const StoredTensor& tensor = *found->second;
    RETURN_IF_ERROR(At(place, CheckTensor(spec, tensor)));
    binding.tensors.push_back({.info = {.name = std::move(spec.name),
                                        .type = *tensor.type,
                                        .shape = std::move(spec.shape),
                                        .bytes = tensor.bytes},
                               .file = tensor.file,
                               .offset = tensor.offset,
                               .interleaved_heads = spec.interleaved_heads});
    unbound.erase(found);
  }
  for (const auto& [name, tensor] : unbound) {
    if (!IsIgnored(config, naming, name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(name), ": the model has no such tensor"));
    }
    binding.ignored.emplace_back(name);
  }
  return binding;
}

}  // namespace peerage
