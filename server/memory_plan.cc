#include "server/memory_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace peerage {
namespace {

constexpr int64_t kMib = int64_t{1} << 20;

std::string Mib(int64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / kMib);
}

// Saturates: contexts and sequence counts are in range alone, but not always multiplied.
int64_t Multiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

int64_t KvCacheBytes(const MemoryRequest& request) {
  if (request.kv_cache_mib) return Multiply(*request.kv_cache_mib, kMib);
  const int64_t tokens = Multiply(request.max_sequences, request.context_length);
  return std::min(Multiply(tokens, request.kv_bytes_per_token), request.available_bytes / 4);
}

int64_t Elements(const TensorInfo& tensor) {
  int64_t elements = 1;
  for (int64_t size : tensor.shape) elements *= size;
  return elements;
}

TensorType StoredAs(const std::string& dtype, TensorType file_type) {
  for (TensorType type :
       {TensorType::kF32, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_1}) {
    if (dtype == Traits(type).name) return type;
  }
  return file_type;
}

}  // namespace

std::string MemoryPlan::ToString() const {
  return absl::StrCat("weights ", Mib(weights_bytes), " + KV cache ", Mib(kv_cache_bytes), " (",
                      kv_cache_tokens, " tokens) + workspace ", Mib(workspace_bytes), " = ",
                      Mib(weights_bytes + kv_cache_bytes + workspace_bytes), " of ",
                      Mib(available_bytes), " available");
}

absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request) {
  MemoryPlan plan;
  plan.weights_bytes = request.weights_bytes;
  plan.workspace_bytes = request.workspace_bytes;
  plan.kv_cache_bytes = KvCacheBytes(request);
  plan.kv_cache_tokens = plan.kv_cache_bytes / request.kv_bytes_per_token;
  plan.available_bytes = request.available_bytes;
  const int64_t room = plan.available_bytes - plan.weights_bytes - plan.workspace_bytes;
  if (plan.kv_cache_bytes > room) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the model does not fit into memory: ", plan.ToString(),
                     "; lower --kv-cache-mib, --max-batch-tokens or --weights-dtype"));
  }
  return plan;
}

int64_t KvBytesPerToken(const ModelConfig& config) {
  const int64_t keys = int64_t{config.num_kv_heads} * config.head_dim;
  return 2 * keys * static_cast<int64_t>(config.layers.size() * sizeof(float));
}

int64_t WeightsBytes(absl::Span<const TensorInfo> tensors, const std::string& dtype) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) {
    const int64_t elements = Elements(tensor);
    const TensorType type =
        tensor.shape.size() < 2 ? TensorType::kF32 : StoredAs(dtype, tensor.type);
    bytes += static_cast<int64_t>(RowBytes(type, elements));
  }
  return bytes;
}

int64_t WorkspaceBytes(const ModelConfig& config, int64_t max_step_tokens) {
  constexpr int64_t kLogitRows = 64;
  int64_t ffn_width = 0;
  for (const LayerConfig& layer : config.layers) {
    for (const FfnConfig& ffn : layer.ffn) {
      ffn_width = std::max<int64_t>(ffn_width, ffn.intermediate_size);
    }
  }
  const int64_t heads = int64_t{config.num_heads + config.num_kv_heads} * config.head_dim;
  const int64_t widths = 3 * int64_t{config.hidden_size} + 2 * heads + 4 * ffn_width;
  const int64_t logits = std::min(kLogitRows, max_step_tokens) * config.vocab_size;
  return (max_step_tokens * widths + logits) * static_cast<int64_t>(sizeof(float));
}

}  // namespace peerage
