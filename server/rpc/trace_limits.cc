#include "server/rpc/trace_limits.h"

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

absl::string_view Name(ExpertTraceLevel level) {
  switch (level) {
    case ExpertTraceLevel::kNone:
      return "none";
    case ExpertTraceLevel::kSummary:
      return "summary";
    case ExpertTraceLevel::kFull:
      return "full";
  }
  return "";
}

uint64_t FullBytes(ExpertTraceLevel level, uint64_t tokens, absl::Span<const ExpertLayer> layers) {
  if (level != ExpertTraceLevel::kFull) return 0;
  uint64_t picks = 0;  // of one token
  for (const ExpertLayer& layer : layers) picks += layer.picks_per_token();
  return tokens * picks * (sizeof(uint32_t) + sizeof(float));
}

}  // namespace

uint64_t FullTraceBytes(const GenerateRequest& request, absl::Span<const ExpertLayer> layers) {
  const uint64_t generated = uint64_t{request.candidates} * (request.stopping.max_tokens - 1);
  return FullBytes(request.trace, request.prompt.size() + generated, layers);
}

uint64_t FullTraceBytes(const ScoreRequest& request, absl::Span<const ExpertLayer> layers) {
  uint64_t tokens = request.context.size();
  for (const std::vector<TokenId>& continuation : request.continuations) {
    tokens += continuation.size() - 1;
  }
  return FullBytes(request.trace, tokens, layers);
}

absl::Status CheckTrace(ExpertTraceLevel level, uint64_t full_bytes, const TraceLimits& limits) {
  if (level > limits.level) {
    return absl::FailedPreconditionError(
        absl::StrCat("expert_trace: the server runs with --expert-trace=", Name(limits.level)));
  }
  if (full_bytes > limits.max_bytes) {
    return absl::OutOfRangeError(absl::StrCat("expert_trace: the picks of all tokens could take ",
                                              full_bytes, " bytes, the server's limit is ",
                                              limits.max_bytes, " (--max-trace-mib)"));
  }
  return absl::OkStatus();
}

}  // namespace peerage
