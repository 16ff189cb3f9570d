#include "server/memory_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

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

// The most that the KV cache takes without being asked to.
int64_t KvCacheShare(const MemoryRequest& request) {
  if (request.device == "cpu") return request.available_bytes / 4;
  const int64_t rest = request.weights_bytes +
                       request.workers * (request.workspace_bytes + request.expert_usage_bytes +
                                          request.expert_trace_bytes);
  return std::max<int64_t>(0, request.available_bytes - rest) / 10 * 9;
}

int64_t KvCacheBytes(const MemoryRequest& request) {
  if (request.kv_cache_mib) return Multiply(*request.kv_cache_mib, kMib);
  const int64_t blocks_per_sequence =
      request.context_length / request.kv_block_tokens +
      (request.context_length % request.kv_block_tokens == 0 ? 0 : 1);
  const int64_t sequences = Multiply(request.workers, request.max_sequences);
  const int64_t blocks = Multiply(sequences, blocks_per_sequence);
  return std::min(Multiply(blocks, request.kv_block_bytes), KvCacheShare(request));
}

// Why a plan is refused, with what could be changed.
absl::Status DoesNotFit(absl::string_view where, const MemoryPlan& plan, absl::string_view advice) {
  return absl::ResourceExhaustedError(absl::StrCat("the model does not fit into ", where, ": ",
                                                   plan.ToString(), "; lower ", advice));
}

absl::Status CheckFits(const MemoryPlan& plan) {
  if (plan.total_bytes() > plan.available_bytes) {
    const bool counts = plan.expert_usage_bytes + plan.expert_trace_bytes > 0;
    return DoesNotFit(plan.device == "cpu" ? "memory" : absl::StrCat("the memory of ", plan.device),
                      plan,
                      absl::StrCat("--kv-cache-mib, --max-batch-tokens or --weights-dtype",
                                   counts ? ", or --expert-usage and --max-trace-mib" : ""));
  }
  if (plan.host.has_value() && plan.host->total_bytes() > plan.host->available_bytes) {
    return DoesNotFit("the host's memory", plan, "--expert-usage and --max-trace-mib");
  }
  return absl::OkStatus();
}

// " + expert usage 1.0 MiB + traces 2.0 MiB", of what there is of them.
std::string Experts(int64_t usage_bytes, int64_t trace_bytes) {
  return absl::StrCat(usage_bytes > 0 ? absl::StrCat(" + expert usage ", Mib(usage_bytes)) : "",
                      trace_bytes > 0 ? absl::StrCat(" + traces ", Mib(trace_bytes)) : "");
}

}  // namespace

int64_t MemoryPlan::total_bytes() const {
  return weights_bytes + workspace_bytes + expert_usage_bytes + expert_trace_bytes + kv_cache_bytes;
}

std::string MemoryPlan::ToString() const {
  std::string sum =
      absl::StrCat("weights ", Mib(weights_bytes), " + KV cache ", Mib(kv_cache_bytes), " (",
                   kv_cache_tokens, " tokens) + workspace ", Mib(workspace_bytes),
                   Experts(expert_usage_bytes, expert_trace_bytes), " = ", Mib(total_bytes()),
                   " of ", Mib(available_bytes));
  if (device == "cpu") {
    const std::string shared =
        workers == 1 ? "" : absl::StrCat(", for ", workers, " workers that share the weights");
    return absl::StrCat(sum, " available", shared);
  }
  sum = absl::StrCat(device, ": ", sum, " free");
  if (!host.has_value() || host->total_bytes() == 0) return sum;
  const std::string parts = Experts(host->expert_usage_bytes, host->expert_trace_bytes);
  return absl::StrCat(sum, "; host: ", absl::StripPrefix(parts, " + "), " = ",
                      Mib(host->total_bytes()), " of ", Mib(host->available_bytes), " available");
}

absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request) {
  MemoryPlan plan;
  plan.weights_bytes = request.weights_bytes;
  plan.workers = request.workers;
  plan.workspace_bytes = request.workers * request.workspace_bytes;
  plan.expert_usage_bytes = request.workers * request.expert_usage_bytes;
  plan.expert_trace_bytes = request.workers * request.expert_trace_bytes;
  plan.kv_cache_bytes = KvCacheBytes(request);
  plan.kv_cache_tokens = plan.kv_cache_bytes / request.kv_block_bytes * request.kv_block_tokens;
  plan.available_bytes = request.available_bytes;
  plan.device = request.device;
  plan.host = request.host;
  RETURN_IF_ERROR(CheckFits(plan));
  return plan;
}

}  // namespace peerage
