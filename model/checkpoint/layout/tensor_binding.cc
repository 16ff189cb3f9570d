#include "model/checkpoint/layout/tensor_binding.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/mixtral_names.h"
#include "model/checkpoint/layout/stored_values.h"

namespace peerage {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status CheckPart(const StoredPart& part, TensorRole role, const StoredTensor& stored) {
  if (stored.shape != part.shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape ", ShapeText(stored.shape), ", but the config asks for ", ShapeText(part.shape)));
  }
  if (!stored.type.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat("dtype ", stored.dtype,
                     " is not supported for weights (F32, F16 and BF16 are, and in GGUF "
                     "files Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q6_K)"));
  }
  if (role != TensorRole::kMatrix && !IsPlain(*stored.type)) {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype ", stored.dtype, ", but only matrices may be quantised"));
  }
  return absl::OkStatus();
}

// What a surplus tensor is about, where its name tells: nothing that this build computes.
absl::string_view Meaning(absl::string_view name) {
  if (absl::StrContains(name, "rope_freqs") || absl::StrContains(name, "rope_factors")) {
    return " (it scales rotary frequencies for long contexts, as in Llama 3.1, which is not "
           "supported; models without such scaling are)";
  }
  if (absl::EndsWith(name, ".bias")) {
    return " (biases of projections and norms are not supported; models without them are)";
  }
  return "";
}

// As Read gives it: in the part's dtype where bytes only move, else in f32.
TensorInfo InfoOf(TensorSpec spec, const StoredTensor& first_part) {
  TensorInfo info{.name = std::move(spec.name), .shape = std::move(spec.shape)};
  if (OnlyMovesBytes(spec.transform)) info.type = *first_part.type;
  info.bytes = RowBytes(info.type, Elements(info.shape));
  return info;
}

class Binder {
 public:
  explicit Binder(const std::vector<StoredTensor>& stored) {
    for (const StoredTensor& tensor : stored) stored_.emplace(tensor.name, &tensor);
  }

  absl::StatusOr<BoundTensor> Bind(TensorSpec spec) {
    BoundTensor bound{.role = spec.role, .transform = spec.transform};
    for (const StoredPart& part : spec.parts) {
      const std::string place = absl::StrCat("tensor ", Quoted(part.name));
      const auto found = stored_.find(part.name);
      if (found == stored_.end()) return At(place, absl::InvalidArgumentError("is missing"));
      RETURN_IF_ERROR(At(place, CheckPart(part, spec.role, *found->second)));
      bound.parts.push_back(*found->second);
      used_.insert(found->first);
    }
    bound.info = InfoOf(std::move(spec), bound.parts.front());
    return bound;
  }

  const StoredTensor& Find(absl::string_view name) const { return *stored_.at(name); }

  // In the order of their names.
  std::vector<std::string> Unused() const {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : stored_) {
      if (!used_.contains(name)) names.emplace_back(name);
    }
    return names;
  }

 private:
  std::map<absl::string_view, const StoredTensor*> stored_;  // by name
  std::set<absl::string_view> used_;                         // two specs may share a part
};

// Precondition: the layout is bound; every layout has an embedding.
const StoredTensor& EmbeddingOf(const TensorBinding& binding) {
  const auto embedding = std::find_if(
      binding.tensors.begin(), binding.tensors.end(),
      [](const BoundTensor& tensor) { return tensor.info.name == "model.embed_tokens.weight"; });
  return embedding->parts.front();
}

}  // namespace

TensorNaming NamingOf(const ModelConfig& config, const std::vector<StoredTensor>& stored) {
  if (config.architecture == "peerage") return TensorNaming::kPeerage;
  if (config.architecture == "llama") return TensorNaming::kLlama;
  const bool packed = std::any_of(stored.begin(), stored.end(), [](const StoredTensor& tensor) {
    return HoldsPackedExperts(tensor.name);
  });
  return packed ? TensorNaming::kMixtralPacked : TensorNaming::kMixtral;
}

absl::StatusOr<TensorBinding> BindTensors(const ModelConfig& config, TensorNaming naming,
                                          std::vector<StoredTensor> stored) {
  Binder binder(stored);
  TensorBinding binding;
  for (TensorSpec& spec : TensorLayout(config, naming)) {
    ASSIGN_OR_RETURN(BoundTensor bound, binder.Bind(std::move(spec)));
    binding.tensors.push_back(std::move(bound));
  }
  for (std::string& name : binder.Unused()) {
    if (!IsIgnored(config, naming, name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(name), ": the model has no such tensor", Meaning(name)));
    }
    if (config.tied_embeddings && name == "lm_head.weight") {
      binding.tied_head = TiedHead{EmbeddingOf(binding), binder.Find(name)};
    }
    binding.ignored.push_back(std::move(name));
  }
  return binding;
}

}  // namespace peerage
