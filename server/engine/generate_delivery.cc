#include "server/engine/generate_delivery.h"

#include <algorithm>
#include <utility>

namespace peerage {

GenerateDelivery::GenerateDelivery(GenerateRequest request, std::shared_ptr<ResponseSink> sink,
                                   const ModelFacts& model)
    : Delivery(std::move(sink), request.scheduling.arrival),
      request_(std::move(request)),
      tokenizer_(model.tokenizer),
      trace_(request_.trace, model.expert_layers, request_.prompt.size(), request_.candidates) {}

SlotState GenerateDelivery::StateOf(const Sequence& sequence) const {
  if (sequence.is_trunk) return {};  // nothing is sampled there
  return {.sampling = request_.sampling,
          .prompt = request_.prompt,
          .generated = sequence.generated(),
          .candidate = sequence.index};
}

void GenerateDelivery::AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const {
  if (request_.prompt_logprobs && sequence.index == 0) {
    const absl::Span<const TokenId> prompt = request_.prompt;
    const int32_t scored = std::min(count, prompt_size() - 1 - sequence.computed);
    for (int32_t row = 0; row < scored; ++row) {
      step.Score(row, prompt.subspan(sequence.computed + row + 1, 1),
                 std::max(request_.alternatives, 0));
    }
  }
  if (!sequence.is_trunk && count == sequence.pending()) {
    step.Sample(count - 1, request_.alternatives);
  }
}

std::optional<TokenId> GenerateDelivery::Deliver(const Sequence& sequence,
                                                 const ChunkResult& result, absl::Time now) {
  trace_.Record(sequence.index, result);
  if (request_.trace == ExpertTraceLevel::kFull) {
    sink().OnPicks({.candidate = sequence.index,
                    .first_position = static_cast<uint32_t>(result.first_position),
                    .tokens = static_cast<uint32_t>(result.num_tokens),
                    .layers = trace_.PicksOf(result)});
  }
  if (sequence.index == 0) {
    // Every candidate computes the prompt's last token; that of the first one counts.
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
  if (result.rows.empty() || !result.rows.back().sample) return std::nullopt;
  return DeliverToken(sequence.index, result.outputs.back(), now);
}

void GenerateDelivery::DeliverStart() {
  Delivery::DeliverStart();
  trace_.Start();
  candidates_.reserve(request_.candidates);
  for (uint32_t i = 0; i < request_.candidates; ++i) {
    candidates_.emplace_back(i, &request_.stopping, tokenizer_);
  }
  if (request_.prompt_logprobs) sink().OnPromptLogprobs(0, {{.token = request_.prompt[0]}});
  Resume();
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
