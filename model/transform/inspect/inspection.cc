#include "model/transform/inspect/inspection.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/nn/open_model.h"
#include "model/tensor_type.h"

namespace peerage::transform {
namespace {

// What the canonical names of a part's tensors contain; the first part that fits counts.
struct Part {
  absl::string_view name;
  absl::string_view contains;
};

constexpr Part kParts[] = {
    {"embedding", "model.embed_tokens."},
    {"attention_router", ".attention.router."},
    {"attention_experts", ".attention.experts."},
    {"attention", ".attention."},
    {"dense_ffn", ".ffn.dense."},
    {"ffn_router", ".ffn.mixture.router."},
    {"ffn_experts", ".ffn.mixture.experts."},
    {"peer_experts", ".ffn.peer.down."},
    {"peer_experts", ".ffn.peer.up."},
    {"peer_experts", ".ffn.peer.gate."},
    {"peer_router", ".ffn.peer."},
    {"pkm_values", ".ffn.pkm.values."},
    {"pkm_router", ".ffn.pkm."},
    {"norms", "norm.weight"},
    {"head", "lm_head."},
};

absl::string_view PartOf(absl::string_view tensor) {
  for (const Part& part : kParts) {
    if (absl::StrContains(tensor, part.contains)) return part.name;
  }
  return "other";
}

class PartSizes {
 public:
  void Add(absl::string_view tensor, const std::vector<int64_t>& shape, uint64_t bytes) {
    PartSize& size = Of(PartOf(tensor));
    size.parameters += Elements(shape);
    size.bytes += bytes;
  }

  std::vector<PartSize> Take() { return std::move(sizes_); }

 private:
  PartSize& Of(absl::string_view part) {
    for (PartSize& size : sizes_) {
      if (size.part == part) return size;
    }
    return sizes_.emplace_back(PartSize{.part = std::string(part)});
  }

  std::vector<PartSize> sizes_;
};

std::vector<DtypeSize> DtypesOf(absl::Span<const TensorInfo> tensors) {
  std::map<TensorType, DtypeSize> by_type;
  for (const TensorInfo& tensor : tensors) {
    DtypeSize& size = by_type[tensor.type];
    size.dtype = Traits(tensor.type).name;
    ++size.tensors;
    size.bytes += tensor.bytes;
  }
  std::vector<DtypeSize> sizes;
  for (auto& [type, size] : by_type) sizes.push_back(std::move(size));
  std::stable_sort(sizes.begin(), sizes.end(),
                   [](const DtypeSize& a, const DtypeSize& b) { return a.bytes > b.bytes; });
  return sizes;
}

Inspection InspectConfig(ModelConfig config, int64_t context) {
  Inspection inspection;
  inspection.plan = nn::PlanModel(config);
  inspection.context = context;
  inspection.kv_bytes_per_token = inspection.plan.KvValues() * sizeof(float);
  inspection.config = std::move(config);
  return inspection;
}

absl::StatusOr<Inspection> InspectBareConfig(const std::string& path, int64_t context) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxModelConfigBytes));
  absl::StatusOr<ModelConfig> config = ParseModelConfig(text);
  if (!config.ok()) return At(path, config.status());
  Inspection inspection = InspectConfig(*std::move(config), context);
  PartSizes sizes;
  for (const nn::PlannedTensor& tensor : inspection.plan.Tensors()) {
    sizes.Add(tensor.name, tensor.shape, 0);
  }
  inspection.parts = sizes.Take();
  return inspection;
}

}  // namespace

absl::StatusOr<Inspection> Inspect(const std::string& path, int64_t context) {
  if (absl::EndsWith(path, ".json")) return InspectBareConfig(path, context);
  ASSIGN_OR_RETURN(nn::OpenedModel opened, nn::OpenModel(path, nn::LoadOptions()));
  Inspection inspection = InspectConfig(opened.checkpoint->config(), context);
  inspection.has_weights = true;
  inspection.tokenizer = std::move(opened.tokenizer);
  PartSizes sizes;
  for (const TensorInfo& tensor : opened.checkpoint->tensors()) {
    sizes.Add(tensor.name, tensor.shape, tensor.bytes);
  }
  inspection.parts = sizes.Take();
  inspection.dtypes = DtypesOf(opened.checkpoint->tensors());
  return inspection;
}

}  // namespace peerage::transform
