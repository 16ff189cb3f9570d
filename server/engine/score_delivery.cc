#include "server/engine/score_delivery.h"

#include <algorithm>
#include <utility>

namespace peerage {

ScoreDelivery::ScoreDelivery(ScoreRequest request, std::shared_ptr<ResponseSink> sink,
                             const ModelFacts& model)
    : Delivery(std::move(sink), request.scheduling.arrival),
      request_(std::move(request)),
      scores_(request_.continuations.size()),
      trace_(request_.trace, model.expert_layers, request_.context.size(),
             request_.continuations.size()),
      hidden_(&request_.hidden_states, request_.context.size(), request_.continuations.size()) {
  for (const std::vector<TokenId>& continuation : request_.continuations) {
    first_tokens_.push_back(continuation.front());
  }
}

void ScoreDelivery::AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const {
  hidden_.AddRows(sequence.index, sequence.computed, count, step);
  if (sequence.is_trunk) {
    const bool is_new = sequence.reached < context_size();
    if (is_new && count == sequence.pending()) {
      step.Score(count - 1, first_tokens_, request_.alternatives);
    }
    return;
  }
  const absl::Span<const TokenId> continuation = request_.continuations[sequence.index];
  const int32_t first_target = sequence.computed - context_size() + 1;
  for (int32_t row = std::max(sequence.reached - sequence.computed, 0); row < count; ++row) {
    step.Score(row, continuation.subspan(first_target + row, 1), request_.alternatives);
  }
}

int64_t ScoreDelivery::NextTraceToken(const Sequence& sequence) const {
  int64_t token = sequence.computed;
  if (sequence.is_trunk || request_.expert_control.empty()) return token;
  for (uint32_t i = 0; i < sequence.index; ++i) {
    token += static_cast<int64_t>(request_.continuations[i].size()) - 1;
  }
  return token;
}

std::optional<TokenId> ScoreDelivery::Deliver(Sequence& sequence, const ChunkResult& result,
                                              absl::Time now) {
  trace_.Record(sequence.index, result, sequence.reached);
  hidden_.Keep(sequence.index, result);
  if (sequence.is_trunk) {
    const int32_t begin = std::max(result.first_position, sequence.reached);
    tokens_.prompt += std::max(sequence.computed - begin, 0);
  }
  if (result.rows.empty()) return std::nullopt;
  MarkToken(now);
  if (sequence.is_trunk) {
    DeliverFirstTokens(result.outputs[0]);
    return std::nullopt;
  }
  for (const RowOutput& output : result.outputs) {
    scores_[sequence.index].push_back(LogprobOf(output, 0));
    ++scored_tokens_;
  }
  if (sequence.pending() == 0) DeliverScore(sequence.index);
  return std::nullopt;
}

void ScoreDelivery::DeliverStart(const CachedPrefix& cached) {
  cached_prompt_tokens_ = static_cast<uint32_t>(cached.tokens);
  tokens_.prefix_queried = cached.queried;
  tokens_.prefix_hit = cached.tokens;
  sink().OnStarted(cached_prompt_tokens_);
  trace_.Start(cached.tokens);
  hidden_.Start();
  if (!request_.context.empty()) return;
  for (size_t i = 0; i < scores_.size(); ++i) scores_[i].push_back({.token = first_tokens_[i]});
  EndFirstTokens();
}

void ScoreDelivery::DeliverFirstTokens(const RowOutput& output) {
  for (size_t i = 0; i < scores_.size(); ++i) scores_[i].push_back(LogprobOf(output, i));
  EndFirstTokens();
}

void ScoreDelivery::EndFirstTokens() {
  scored_tokens_ += static_cast<uint32_t>(scores_.size());
  for (size_t i = 0; i < scores_.size(); ++i) {
    if (request_.continuations[i].size() == 1) DeliverScore(static_cast<uint32_t>(i));
  }
}

void ScoreDelivery::DeliverScore(uint32_t continuation) {
  ContinuationScore score{.continuation = continuation, .tokens = std::move(scores_[continuation])};
  if (trace_.wanted()) {
    if (num_delivered_ == 0) sink().OnPromptTrace(trace_.TakePrompt());
    score.trace = trace_.TakePart(continuation);
  }
  DeliverHidden(hidden_, num_delivered_ == 0, continuation);
  ++num_delivered_;
  tokens_.scored += static_cast<int64_t>(score.tokens.size());
  sink().OnScore(std::move(score));
}

RequestEvent ScoreDelivery::Usage() const {
  RequestEvent event{.kind = RequestKind::kScore,
                     .origin = request_.origin,
                     .tenant = request_.scheduling.tenant,
                     .cached_prompt_tokens = cached_prompt_tokens_,
                     .completion_tokens = scored_tokens_};
  if (begun()) event.prompt_tokens = static_cast<uint32_t>(request_.context.size());
  return event;
}

}  // namespace peerage
