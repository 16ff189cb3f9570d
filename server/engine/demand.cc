#include "server/engine/demand.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

int64_t BlocksFor(int64_t positions, int32_t block_tokens) {
  return (positions + block_tokens - 1) / block_tokens;
}

int64_t LongestContinuation(const ScoreRequest& request) {
  size_t longest = 0;
  for (const std::vector<TokenId>& continuation : request.continuations) {
    longest = std::max(longest, continuation.size());
  }
  return static_cast<int64_t>(longest);
}

absl::Status CheckContext(int64_t tokens, const std::string& sum, const Supply& supply) {
  if (tokens <= supply.context_length) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(
      sum, " = ", tokens, " is more than the context length of ", supply.context_length));
}

absl::Status CheckDemand(const Demand& demand, const Supply& supply) {
  if (demand.sequences > supply.max_sequences) {
    return absl::OutOfRangeError(absl::StrCat(demand.sequences,
                                              " candidates are more than the server's limit of ",
                                              supply.max_sequences, " sequences"));
  }
  if (demand.slots > supply.capacity.num_slots) {
    return absl::OutOfRangeError(absl::StrCat("the request needs ", demand.slots,
                                              " sequence slots, the model has ",
                                              supply.capacity.num_slots));
  }
  if (demand.blocks > supply.capacity.num_blocks) {
    return absl::OutOfRangeError(absl::StrCat(
        "the request needs ", demand.blocks, " KV blocks of ", supply.capacity.block_tokens,
        " tokens, the KV cache has ", supply.capacity.num_blocks));
  }
  return absl::OkStatus();
}

}  // namespace

Demand DemandOf(const GenerateRequest& request, int32_t block_tokens) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t candidates = request.candidates;
  const int64_t each = BlocksFor(prompt + request.stopping.max_tokens, block_tokens);
  const int64_t shared = (prompt - 1) / block_tokens;  // the last prompt token is each one's own
  return {.blocks = each + (candidates - 1) * (each - shared),
          .slots = candidates,
          .sequences = candidates};
}

Demand DemandOf(const ScoreRequest& request, int32_t block_tokens) {
  const int64_t context = static_cast<int64_t>(request.context.size());
  const int64_t longest = LongestContinuation(request);
  const int64_t shared = context / block_tokens;
  Demand demand{
      .blocks = BlocksFor(context, block_tokens), .slots = context > 0 ? 1 : 0, .sequences = 1};
  if (longest > 1) {  // a last token is scored, not computed
    demand.blocks += BlocksFor(context + longest - 1, block_tokens) - shared;
    demand.slots += 1;
  }
  return demand;
}

absl::Status CheckFits(const GenerateRequest& request, const Supply& supply) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t max_tokens = request.stopping.max_tokens;
  RETURN_IF_ERROR(CheckContext(
      prompt + max_tokens,
      absl::StrCat("prompt of ", prompt, " tokens + max_tokens of ", max_tokens), supply));
  return CheckDemand(DemandOf(request, supply.capacity.block_tokens), supply);
}

absl::Status CheckFits(const ScoreRequest& request, const Supply& supply) {
  const int64_t context = static_cast<int64_t>(request.context.size());
  const int64_t longest = LongestContinuation(request);
  RETURN_IF_ERROR(CheckContext(
      context + longest,
      absl::StrCat("context of ", context, " tokens + longest continuation of ", longest), supply));
  return CheckDemand(DemandOf(request, supply.capacity.block_tokens), supply);
}

}  // namespace peerage
