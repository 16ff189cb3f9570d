#include "tests/unit/engine/simulation/reader.h"

#include <utility>

#include "tests/unit/engine/simulation/answers.h"
#include "tests/unit/engine/simulation/generate_reader.h"
#include "tests/unit/engine/simulation/score_reader.h"

namespace peerage {

std::shared_ptr<Reader> Reader::Of(const Arrival& arrival, const ReaderParts& parts) {
  if (std::holds_alternative<GenerateRequest>(arrival.request)) {
    return std::make_shared<GenerateReader>(arrival, parts);
  }
  return std::make_shared<ScoreReader>(arrival, parts);
}

void Reader::OnStarted(uint32_t cached_tokens) {
  Require(!begun_ && !done(), "begins twice, or after its end");
  Require(cached_tokens <= known().size(), "finds ", cached_tokens, " tokens in the cache");
  begun_ = true;
  cached_ = cached_tokens;
  parts_.ledger->begun_prompts += static_cast<int64_t>(prompt().size());
  parts_.ledger->cached += static_cast<int64_t>(cached_);
  parts_.ledger->cached_prompts += static_cast<int64_t>(cached_of_prompt());
  Log(1 + (static_cast<uint64_t>(cached_tokens) << 16));
}

void Reader::OnPromptTrace(ExpertTrace trace) {
  CheckRunning();
  Require(!std::exchange(has_prompt_trace_, true), "gets its prompt's trace twice");
  const size_t first = std::min(cached_, traced_prompt().size());
  CheckTrace(trace, traced_prompt().subspan(first), first);
}

void Reader::OnDone(absl::Status status, const Timings& timings) {
  Require(!done(), "ends twice");
  Require(billed_, "ends before the observer was told");
  Require(timings.preemptions == preemptions_, "says that it was thrown out ", timings.preemptions,
          " times, not ", preemptions_);
  Require(!status.ok() || (begun_ && complete()), "ends well without all that it asked for");
  Require(timings.queue >= absl::ZeroDuration() && timings.prefill >= absl::ZeroDuration() &&
              timings.decode >= absl::ZeroDuration(),
          "has timings below zero");
  status_ = std::move(status);
  Log(2 + static_cast<uint64_t>(status_->code()));
}

void Reader::CheckUsage(const RequestEvent& event) {
  Require(!std::exchange(billed_, true) && !done(), "is billed twice");
  Require(event.admitted && event.scheduled == begun_, "is said to have begun, or not");
  Require(event.prompt_tokens == (begun_ ? prompt().size() : 0), "is billed for ",
          event.prompt_tokens, " tokens of its prompt");
  Require(event.cached_prompt_tokens == cached_of_prompt(), "is billed for ",
          event.cached_prompt_tokens, " cached tokens");
  Require(event.tenant == arrival_.scheduling().tenant, "is billed to another tenant");
  CheckCounts(event);
}

void Reader::CheckRunning() { Require(begun_ && !done(), "gets something before or after all"); }

void Reader::MarkWholePrompt() {
  if (std::exchange(has_whole_prompt_, true)) return;
  parts_.ledger->whole_prompts += static_cast<int64_t>(prompt().size());
}

void Reader::CheckScore(const TokenLogprob& score, uint64_t past, TokenId token,
                        int32_t alternatives) {
  const TokenScore expected = answers::Score(past, token);
  bool right = score.token == token && score.rank == expected.rank &&
               score.logprob == expected.logprob &&
               static_cast<int32_t>(score.alternatives.size()) == alternatives;
  for (int32_t i = 0; right && i < alternatives; ++i) {
    const TokenAlternative other = answers::Alternative(past, i);
    right = score.alternatives[i].token == other.token &&
            score.alternatives[i].logprob == other.logprob;
  }
  Require(right, "gets a wrong log-probability of token ", token);
}

void Reader::CheckTrace(const ExpertTrace& trace, absl::Span<const TokenId> tokens,
                        size_t first_position) {
  Require(trace.tokens == tokens.size(), "gets a trace of ", trace.tokens, " tokens for ",
          tokens.size());
  if (!parts_.verdict->ok()) return;
  const absl::Span<const uint32_t> ids = trace.layers[0].ids();
  constexpr uint32_t kEach = answers::kExperts.top_k;
  bool right = ids.size() == tokens.size() * kEach;
  for (size_t i = 0; right && i < ids.size(); ++i) {
    const auto position = static_cast<int32_t>(first_position + i / kEach);
    right = ids[i] == answers::Pick(tokens[i / kEach], position, i % kEach);
  }
  Require(right, "gets a wrong trace");
}

void Reader::CheckPromptTraceCame() {
  Require(has_prompt_trace_ == (trace() != ExpertTraceLevel::kNone),
          "gets a part before the prompt's trace");
}

void Reader::Log(uint64_t what) { parts_.ledger->Log(arrival_.handle << 32 | what); }

}  // namespace peerage
