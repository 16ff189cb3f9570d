#include "server/engine/generate_delivery.h"

#include <algorithm>
#include <utility>

namespace peerage {

GenerateDelivery::GenerateDelivery(GenerateRequest request, std::shared_ptr<ResponseSink> sink,
                                   const ModelFacts& model)
    : Delivery(std::move(sink), request.scheduling.arrival),
      request_(std::move(request)),
      tokenizer_(model.tokenizer),
      trace_(request_.trace, model.expert_layers, request_.prompt.size(), request_.candidates),
      hidden_(&request_.hidden_states, request_.prompt.size(), request_.candidates) {}

SlotState GenerateDelivery::StateOf(const Sequence& sequence) const {
  if (sequence.is_trunk) return {};  // nothing is sampled there
  return {.sampling = request_.sampling,
          .prompt = request_.prompt,
          .generated = sequence.generated(),
          .candidate = sequence.index};
}

void GenerateDelivery::AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const {
  hidden_.AddRows(sequence.index, sequence.computed, count, step);
  if (request_.prompt_logprobs && sequence.index == 0) {
    const absl::Span<const TokenId> prompt = request_.prompt;
    const int32_t scored = std::min(count, prompt_size() - 1 - sequence.computed);
    for (int32_t row = std::max(sequence.reached - sequence.computed, 0); row < scored; ++row) {
      step.Score(row, prompt.subspan(sequence.computed + row + 1, 1),
                 std::max(request_.alternatives, 0));
    }
  }
  if (!sequence.is_trunk && count == sequence.pending()) {
    step.Sample(count - 1, request_.alternatives);
  }
}

std::optional<TokenId> GenerateDelivery::Deliver(Sequence& sequence, const ChunkResult& result,
                                                 absl::Time now) {
  trace_.Record(sequence.index, result, sequence.reached);
  hidden_.Keep(sequence.index, result);
  if (request_.trace == ExpertTraceLevel::kFull) DeliverPicks(sequence, result);
  if (sequence.index == 0) {
    // Every candidate computes the prompt's last token; that of the first one counts.
    const int32_t begin = std::max(result.first_position, sequence.reached);
    tokens_.prompt += std::max(std::min(sequence.computed, prompt_size()) - begin, 0);
    DeliverPromptLogprobs(sequence, result);
  }
  if (result.rows.empty() || !result.rows.back().sample) return std::nullopt;
  return DeliverToken(sequence.index, result.outputs.back(), now);
}

void GenerateDelivery::DeliverPicks(const Sequence& sequence, const ChunkResult& result) {
  const int32_t known = std::max(sequence.reached - result.first_position, 0);
  if (known >= result.num_tokens) return;
  sink().OnPicks({.candidate = sequence.index,
                  .first_position = static_cast<uint32_t>(result.first_position + known),
                  .tokens = static_cast<uint32_t>(result.num_tokens - known),
                  .layers = trace_.PicksOf(result, known)});
}

void GenerateDelivery::DeliverPromptLogprobs(Sequence& sequence, const ChunkResult& result) {
  std::vector<TokenLogprob> logprobs;
  int32_t first_position = 0;
  for (size_t i = 0; i < result.rows.size(); ++i) {
    if (result.rows[i].sample) continue;
    if (logprobs.empty()) first_position = result.first_position + result.rows[i].row + 1;
    logprobs.push_back(LogprobOf(result.outputs[i], 0));
  }
  if (logprobs.empty()) return;
  // For the prefix cache, where it has all before them.
  if (static_cast<int32_t>(sequence.logprobs.size()) == first_position) {
    sequence.logprobs.insert(sequence.logprobs.end(), logprobs.begin(), logprobs.end());
  }
  sink().OnPromptLogprobs(static_cast<uint32_t>(first_position), std::move(logprobs));
}

void GenerateDelivery::DeliverStart(const CachedPrefix& cached) {
  cached_prompt_tokens_ = static_cast<uint32_t>(std::min(cached.tokens, prompt_size()));
  tokens_.prefix_queried = std::min(cached.queried, prompt_size());
  tokens_.prefix_hit = cached_prompt_tokens_;
  sink().OnStarted(static_cast<uint32_t>(cached.tokens));
  trace_.Start(cached.tokens);
  hidden_.Start();
  candidates_.reserve(request_.candidates);
  for (uint32_t i = 0; i < request_.candidates; ++i) {
    candidates_.emplace_back(i, &request_.stopping, tokenizer_);
  }
  if (request_.prompt_logprobs) DeliverCachedLogprobs(cached);
  Resume();
}

// The first token has nothing before it; what others were told of the next ones is cached.
void GenerateDelivery::DeliverCachedLogprobs(const CachedPrefix& cached) {
  std::vector<TokenLogprob> logprobs = {{.token = request_.prompt[0]}};
  if (!cached.logprobs.empty()) logprobs = cached.logprobs;
  for (TokenLogprob& logprob : logprobs) {
    const auto wanted = static_cast<size_t>(std::max(request_.alternatives, 0));
    if (logprob.alternatives.size() > wanted) logprob.alternatives.resize(wanted);
  }
  sink().OnPromptLogprobs(0, std::move(logprobs));
}

void GenerateDelivery::Resume() {
  for (const TokenId token : request_.generated) {
    std::optional<CandidateFinish> finish = candidates_[0].Resume(token);
    if (!finish) continue;
    finish->timings = timeline().At(*timeline().scheduled);
    DeliverFinish(*std::move(finish));
  }
}

std::optional<TokenId> GenerateDelivery::DeliverToken(uint32_t candidate, const RowOutput& output,
                                                      absl::Time now) {
  const TokenId token = output.tokens[0].token;
  MarkToken(now);
  Candidate::Progress progress = candidates_[candidate].Append(token, timeline(), now);
  ++tokens_.generated;
  if (progress.since_last) {
    tokens_.inter_token_seconds.push_back(absl::ToDoubleSeconds(*progress.since_last));
  }

  TokenDelta delta{.candidate = candidate, .text = std::move(progress.text), .tokens = {token}};
  if (request_.alternatives >= 0) delta.logprobs = {LogprobOf(output, 0)};
  sink().OnDelta(std::move(delta));

  if (!progress.finish) return token;
  DeliverFinish(*std::move(progress.finish));
  return std::nullopt;
}

void GenerateDelivery::DeliverFinish(CandidateFinish finish) {
  if (trace_.wanted()) {
    if (num_finished_ == 0) sink().OnPromptTrace(trace_.TakePrompt());
    finish.trace = trace_.TakePart(finish.candidate);
  }
  DeliverHidden(hidden_, num_finished_ == 0, finish.candidate);
  ++num_finished_;
  ++finished_[static_cast<size_t>(finish.reason)];
  sink().OnFinished(std::move(finish));
}

RequestEvent GenerateDelivery::Usage() const {
  RequestEvent event{.kind = RequestKind::kGenerate,
                     .origin = request_.origin,
                     .tenant = request_.scheduling.tenant,
                     .finished_candidates = finished_,
                     .unfinished_candidates = request_.candidates - num_finished_};
  if (begun()) event.prompt_tokens = static_cast<uint32_t>(request_.prompt.size());
  event.cached_prompt_tokens = cached_prompt_tokens_;
  for (const Candidate& candidate : candidates_) {
    // Those that another request generated are told of there.
    const auto resumed = static_cast<uint32_t>(request_.generated.size());
    const uint32_t tokens = candidate.completion_tokens() - resumed;
    event.completion_tokens += tokens;
    event.longest_candidate = std::max(event.longest_candidate, tokens);
  }
  return event;
}

}  // namespace peerage
