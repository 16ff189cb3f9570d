#include "server/engine/task.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

// Under another control the same tokens have other keys and values. The client's own part comes
// behind a fingerprint, which has no slash, so that neither can look like the other.
template <typename Request>
std::string SaltOf(const Request& request) {
  return absl::StrCat(ControlFingerprint(request.expert_control), "/",
                      request.scheduling.cache_salt);
}

}  // namespace

Work WorkOf(const GenerateRequest& request) {
  if (request.is_over) return {};
  const absl::Span<const TokenId> prompt = request.prompt;
  const bool shares = request.candidates > 1 && prompt.size() > 1;
  const size_t trunk = shares ? prompt.size() - 1 : 0;
  Work work{.trunk = prompt.first(trunk),
            .side_by_side = static_cast<int32_t>(std::min<uint32_t>(request.candidates, INT32_MAX)),
            .salt = SaltOf(request),
            .prompt_alternatives = request.prompt_logprobs ? std::max(request.alternatives, 0) : -1,
            .first_needed_position = request.hidden_states.First()};
  const Work::Branch branch{
      .tokens = prompt.subspan(trunk),
      .generated = request.generated,
      .positions = static_cast<int64_t>(prompt.size()) + request.stopping.max_tokens};
  work.branches.assign(work.side_by_side, branch);
  for (uint32_t i = 0; i < work.branches.size(); ++i) work.branches[i].index = i;
  return work;
}

// The context's last row scores the first token of every continuation, so one of a single token is
// no branch, and a last token is scored, not computed.
Work WorkOf(const ScoreRequest& request) {
  Work work{.trunk = request.context,
            .salt = SaltOf(request),
            .first_needed_position = request.hidden_states.First(),
            .branches_are_scored = true,
            .is_throughput = true};
  for (uint32_t i = 0; i < request.continuations.size(); ++i) {
    const absl::Span<const TokenId> tokens = request.continuations[i];
    if (tokens.size() == 1) continue;
    work.branches.push_back(
        {.index = i,
         .tokens = tokens.first(tokens.size() - 1),
         .positions = static_cast<int64_t>(request.context.size() + tokens.size()) - 1});
  }
  return work;
}

std::string SharerOf(const SchedulingParams& scheduling) {
  if (!scheduling.tenant.empty() || scheduling.host.empty()) return scheduling.tenant;
  // No text of UTF-8, which names of tenants are, begins so.
  return absl::StrCat("\xff", scheduling.host);
}

int64_t Work::tokens() const {
  auto tokens = static_cast<int64_t>(trunk.size());
  for (const Branch& branch : branches) {
    tokens += static_cast<int64_t>(branch.tokens.size() + branch.generated.size());
  }
  return tokens;
}

absl::Time DueTime(const SchedulingParams& scheduling, bool is_throughput) {
  absl::Duration patience = kPatience + scheduling.priority * kPriorityStep;
  if (is_throughput) patience += kThroughputStep;
  return std::min(scheduling.arrival + patience, scheduling.deadline);
}

int64_t BlocksFor(int64_t positions, int32_t block_tokens) {
  return (positions + block_tokens - 1) / block_tokens;
}

RequestNeeds NeedsOf(const Work& work, int32_t block_tokens, int64_t unknown) {
  const auto trunk = static_cast<int64_t>(work.trunk.size());
  const int64_t full = trunk / block_tokens;
  int64_t longest = 0;
  for (const Work::Branch& branch : work.branches) {
    const auto known = static_cast<int64_t>(branch.tokens.size() + branch.generated.size());
    longest = std::max(longest, std::min(branch.positions, trunk + known + unknown));
  }
  // No context is longer, and the product below stays within 64 bits.
  longest = std::min<int64_t>(longest, INT32_MAX);
  const int64_t own = std::max<int64_t>(BlocksFor(longest, block_tokens) - full, 0);
  const int64_t side_by_side =
      std::min<int64_t>(work.side_by_side, static_cast<int64_t>(work.branches.size()));
  // When all branches run side by side, the last of them takes over the trunk's partial block.
  const bool takes_over = side_by_side == static_cast<int64_t>(work.branches.size());
  const int64_t partial = BlocksFor(trunk, block_tokens) - full;
  return {.blocks = full + side_by_side * own + (takes_over && side_by_side > 0 ? 0 : partial),
          .sequences = std::max<int64_t>(side_by_side, 1)};
}

}  // namespace peerage
