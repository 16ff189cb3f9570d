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
  const int64_t blocks_per_sequence =
      request.context_length / request.kv_block_tokens +
      (request.context_length % request.kv_block_tokens == 0 ? 0 : 1);
  const int64_t blocks = Multiply(request.max_sequences, blocks_per_sequence);
  return std::min(Multiply(blocks, request.kv_block_bytes), request.available_bytes / 4);
}

}  // namespace

int64_t MemoryPlan::total_bytes() const {
  return weights_bytes + workspace_bytes + expert_usage_bytes + expert_trace_bytes + kv_cache_bytes;
}

std::string MemoryPlan::ToString() const {
  std::string sum =
      absl::StrCat("weights ", Mib(weights_bytes), " + KV cache ", Mib(kv_cache_bytes), " (",
                   kv_cache_tokens, " tokens) + workspace ", Mib(workspace_bytes));
  if (expert_usage_bytes > 0) absl::StrAppend(&sum, " + expert usage ", Mib(expert_usage_bytes));
  if (expert_trace_bytes > 0) absl::StrAppend(&sum, " + expert traces ", Mib(expert_trace_bytes));
  return absl::StrCat(sum, " = ", Mib(total_bytes()), " of ", Mib(available_bytes), " available");
}

absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request) {
  MemoryPlan plan;
  plan.weights_bytes = request.weights_bytes;
  plan.workspace_bytes = request.workspace_bytes;
  plan.expert_usage_bytes = request.expert_usage_bytes;
  plan.expert_trace_bytes = request.expert_trace_bytes;
  plan.kv_cache_bytes = KvCacheBytes(request);
  plan.kv_cache_tokens = plan.kv_cache_bytes / request.kv_block_bytes * request.kv_block_tokens;
  plan.available_bytes = request.available_bytes;
  const int64_t room = plan.available_bytes - (plan.total_bytes() - plan.kv_cache_bytes);
  if (plan.kv_cache_bytes > room) {
    const bool counts = plan.expert_usage_bytes + plan.expert_trace_bytes > 0;
    return absl::ResourceExhaustedError(
        absl::StrCat("the model does not fit into memory: ", plan.ToString(),
                     "; lower --kv-cache-mib, --max-batch-tokens or --weights-dtype",
                     counts ? ", or --expert-usage and --expert-trace" : ""));
  }
  return plan;
}

}  // namespace peerage
