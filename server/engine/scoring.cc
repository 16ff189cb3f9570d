#include "server/engine/scoring.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

int64_t LongestContinuation(const ScoreRequest& request) {
  size_t longest = 0;
  for (const std::vector<TokenId>& continuation : request.continuations) {
    longest = std::max(longest, continuation.size());
  }
  return static_cast<int64_t>(longest);
}

// The context, and the longest continuation beside it: the continuations can take turns.
RequestNeeds NeedsOf(const ScoreRequest& request, int32_t block_tokens) {
  const auto context = static_cast<int64_t>(request.context.size());
  const int64_t longest = LongestContinuation(request);
  RequestNeeds needs{.positions = context + longest,
                     .blocks = BlocksFor(context, block_tokens),
                     .slots = context > 0 ? 1 : 0,
                     .sequences = 1};
  if (longest > 1) {  // a last token is scored, not computed
    const int64_t shared = context / block_tokens;
    needs.blocks += BlocksFor(context + longest - 1, block_tokens) - shared;
    needs.slots += 1;
  }
  return needs;
}

}  // namespace

Scoring::Scoring(RequestHandle handle, ScoreRequest request, std::shared_ptr<ResponseSink> sink,
                 const ModelFacts& model)
    : RunningRequest(handle, std::move(sink), NeedsOf(request, model.block_tokens)),
      request_(std::move(request)),
      scores_(request_.continuations.size()),
      trace_(request_.trace, model.expert_layers, request_.context.size(),
             request_.continuations.size()) {
  timeline_.arrival = request_.scheduling.arrival;
  for (size_t i = 0; i < request_.continuations.size(); ++i) {
    first_tokens_.push_back(request_.continuations[i].front());
    if (request_.continuations[i].size() > 1) long_ones_.push_back(static_cast<uint32_t>(i));
  }
}

std::string Scoring::DescribePositions() const {
  return absl::StrCat("context of ", request_.context.size(), " tokens + longest continuation of ",
                      LongestContinuation(request_));
}

bool Scoring::HasMoreSequences() const {
  return context_is_next() || num_started_ < long_ones_.size();
}

std::optional<SequencePlan> Scoring::NextSequence() const {
  if (!HasMoreSequences()) return std::nullopt;
  if (context_is_next()) {
    return SequencePlan{.positions = context_size()};
  }
  if (context_ != nullptr && context_->computed < context_size()) return std::nullopt;
  const auto& continuation = request_.continuations[long_ones_[num_started_]];
  return SequencePlan{.parent = context_,
                      .positions = context_size() + static_cast<int32_t>(continuation.size()) - 1};
}

std::unique_ptr<Sequence> Scoring::StartSequence() {
  auto sequence = std::make_unique<Sequence>();
  if (context_is_next()) {
    context_ = sequence.get();
    sequence->tokens = request_.context;
    return sequence;
  }
  sequence->index = long_ones_[num_started_++];
  const auto& continuation = request_.continuations[sequence->index];
  sequence->tokens.assign(continuation.begin(), continuation.end() - 1);
  return sequence;
}

void Scoring::AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const {
  if (&sequence == context_) {
    if (count == sequence.pending()) {
      step.Score(count - 1, first_tokens_, request_.alternatives);
    }
    return;
  }
  const absl::Span<const TokenId> continuation = request_.continuations[sequence.index];
  const int32_t first_target = sequence.computed - context_size() + 1;
  for (int32_t row = 0; row < count; ++row) {
    step.Score(row, continuation.subspan(first_target + row, 1), request_.alternatives);
  }
}

void Scoring::Deliver(Sequence& sequence, const ChunkResult& result, absl::Time now) {
  trace_.Record(sequence.index, result);
  if (&sequence == context_) tokens_.prompt += result.num_tokens;
  if (result.rows.empty()) return;
  MarkToken(now);
  if (&sequence == context_) {
    DeliverFirstTokens(result.outputs[0]);
    return;
  }
  for (const RowOutput& output : result.outputs) {
    scores_[sequence.index].push_back(LogprobOf(output, 0));
    ++scored_tokens_;
  }
  if (sequence.pending() == 0) {
    sequence.finished = true;
    DeliverScore(sequence.index);
  }
}

void Scoring::DeliverStart() {
  RunningRequest::DeliverStart();
  trace_.Start();
  if (!request_.context.empty()) return;
  for (size_t i = 0; i < scores_.size(); ++i) scores_[i].push_back({.token = first_tokens_[i]});
  EndFirstTokens();
}

void Scoring::DeliverFirstTokens(const RowOutput& output) {
  for (size_t i = 0; i < scores_.size(); ++i) scores_[i].push_back(LogprobOf(output, i));
  EndFirstTokens();
}

void Scoring::EndFirstTokens() {
  scored_tokens_ += static_cast<uint32_t>(scores_.size());
  for (size_t i = 0; i < scores_.size(); ++i) {
    if (request_.continuations[i].size() == 1) DeliverScore(static_cast<uint32_t>(i));
  }
}

void Scoring::DeliverScore(uint32_t continuation) {
  ContinuationScore score{.continuation = continuation, .tokens = std::move(scores_[continuation])};
  if (trace_.wanted()) {
    if (num_delivered_ == 0) sink().OnPromptTrace(trace_.TakePrompt());
    score.trace = trace_.TakePart(continuation);
  }
  ++num_delivered_;
  tokens_.scored += static_cast<int64_t>(score.tokens.size());
  sink().OnScore(std::move(score));
}

RequestEvent Scoring::Usage() const {
  RequestEvent event{.kind = RequestKind::kScore,
                     .origin = request_.origin,
                     .tenant = request_.scheduling.tenant,
                     .completion_tokens = scored_tokens_};
  if (started()) event.prompt_tokens = static_cast<uint32_t>(request_.context.size());
  return event;
}

}  // namespace peerage
