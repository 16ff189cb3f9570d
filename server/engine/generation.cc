#include "server/engine/generation.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

// prompt + max_tokens for every candidate; full blocks of the shared prompt count once.
RequestNeeds NeedsOf(const GenerateRequest& request, int32_t block_tokens) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t candidates = request.candidates;
  const int64_t positions = prompt + request.stopping.max_tokens;
  // No context is longer, and the product below stays within 64 bits.
  const int64_t each = BlocksFor(std::min<int64_t>(positions, INT32_MAX), block_tokens);
  const int64_t shared = (prompt - 1) / block_tokens;  // the last prompt token is each one's own
  return {.positions = positions,
          .blocks = each + (candidates - 1) * (each - shared),
          .slots = candidates,
          .sequences = candidates};
}

}  // namespace

Generation::Generation(RequestHandle handle, GenerateRequest request,
                       std::shared_ptr<ResponseSink> sink, const ModelFacts& model)
    : RunningRequest(handle, std::move(sink), NeedsOf(request, model.block_tokens)),
      request_(std::move(request)),
      tokenizer_(model.tokenizer),
      trace_(request_.trace, model.expert_layers, request_.prompt.size(), request_.candidates) {
  timeline_.arrival = request_.scheduling.arrival;
}

std::string Generation::DescribePositions() const {
  return absl::StrCat("prompt of ", request_.prompt.size(), " tokens + max_tokens of ",
                      request_.stopping.max_tokens);
}

std::optional<SequencePlan> Generation::NextSequence() const {
  if (!HasMoreSequences()) return std::nullopt;
  const int32_t positions = prompt_size() + static_cast<int32_t>(request_.stopping.max_tokens);
  if (first_ == nullptr) return SequencePlan{.positions = positions};
  if (first_->computed < prompt_size() - 1) return std::nullopt;
  return SequencePlan{.parent = first_, .positions = positions};
}

std::unique_ptr<Sequence> Generation::StartSequence() {
  candidates_.reserve(request_.candidates);
  auto sequence = std::make_unique<Sequence>();
  sequence->index = static_cast<uint32_t>(candidates_.size());
  candidates_.emplace_back(sequence->index, &request_.stopping, tokenizer_);
  if (first_ == nullptr) {
    first_ = sequence.get();
    sequence->tokens.reserve(request_.prompt.size() + request_.stopping.max_tokens);
    sequence->tokens = request_.prompt;
    if (request_.candidates > 1) sequence->tokens.pop_back();
  } else {
    sequence->tokens = {request_.prompt.back()};
    if (!HasMoreSequences()) first_->tokens.push_back(request_.prompt.back());
  }
  return sequence;
}

void Generation::AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const {
  if (request_.prompt_logprobs && sequence.index == 0) {
    const absl::Span<const TokenId> prompt = request_.prompt;
    const int32_t scored = std::min(count, prompt_size() - 1 - sequence.computed);
    for (int32_t row = 0; row < scored; ++row) {
      step.Score(row, prompt.subspan(sequence.computed + row + 1, 1),
                 std::max(request_.alternatives, 0));
    }
  }
  if (sequence.computed + count >= prompt_size()) step.Sample(count - 1, request_.alternatives);
}

void Generation::Deliver(Sequence& sequence, const ChunkResult& result, absl::Time now) {
  trace_.Record(sequence.index, result);
  if (request_.trace == ExpertTraceLevel::kFull) {
    sink().OnPicks({.candidate = sequence.index,
                    .first_position = static_cast<uint32_t>(result.first_position),
                    .tokens = static_cast<uint32_t>(result.num_tokens),
                    .layers = trace_.PicksOf(result)});
  }
  if (sequence.index == 0) {
    // Candidate 0 computes all of the prompt; the others compute its last token anew.
    tokens_.prompt +=
        std::min(sequence.computed, prompt_size()) - std::min(result.first_position, prompt_size());
  }
  std::vector<TokenLogprob> prompt_logprobs;
  for (size_t i = 0; i < result.rows.size(); ++i) {
    if (!result.rows[i].sample) prompt_logprobs.push_back(LogprobOf(result.outputs[i], 0));
  }
  if (!prompt_logprobs.empty()) {
    sink().OnPromptLogprobs(static_cast<uint32_t>(result.first_position) + 1,
                            std::move(prompt_logprobs));
  }
  if (!result.rows.empty() && result.rows.back().sample) {
    DeliverToken(sequence, result.outputs.back(), now);
  }
}

void Generation::DeliverStart() {
  RunningRequest::DeliverStart();
  trace_.Start();
  if (request_.prompt_logprobs) sink().OnPromptLogprobs(0, {{.token = request_.prompt[0]}});
}

void Generation::DeliverToken(Sequence& sequence, const RowOutput& output, absl::Time now) {
  const TokenId token = output.tokens[0].token;
  MarkToken(now);
  Candidate::Progress progress = candidates_[sequence.index].Append(token, timeline_, now);
  ++tokens_.generated;
  if (progress.since_last) {
    tokens_.inter_token_seconds.push_back(absl::ToDoubleSeconds(*progress.since_last));
  }

  TokenDelta delta{
      .candidate = sequence.index, .text = std::move(progress.text), .tokens = {token}};
  if (request_.alternatives >= 0) delta.logprobs = {LogprobOf(output, 0)};
  sink().OnDelta(std::move(delta));

  if (progress.finish) {
    sequence.finished = true;
    DeliverFinish(*std::move(progress.finish));
  } else {
    sequence.tokens.push_back(token);
    sequence.decoding = true;
  }
}

void Generation::DeliverFinish(CandidateFinish finish) {
  if (trace_.wanted()) {
    if (num_finished_ == 0) sink().OnPromptTrace(trace_.TakePrompt());
    finish.trace = trace_.TakePart(finish.candidate);
  }
  ++num_finished_;
  ++finished_[static_cast<size_t>(finish.reason)];
  sink().OnFinished(std::move(finish));
}

RequestEvent Generation::Usage() const {
  RequestEvent event{.kind = RequestKind::kGenerate,
                     .origin = request_.origin,
                     .tenant = request_.scheduling.tenant,
                     .finished_candidates = finished_,
                     .unfinished_candidates = request_.candidates - num_finished_};
  if (started()) event.prompt_tokens = static_cast<uint32_t>(request_.prompt.size());
  for (const Candidate& candidate : candidates_) {
    event.completion_tokens += candidate.completion_tokens();
    event.longest_candidate = std::max(event.longest_candidate, candidate.completion_tokens());
  }
  return event;
}

}  // namespace peerage
