#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "server/engine/response_sink.h"

namespace peerage {

// A part of what a request is told.
struct AnswerPart {
  enum Kind {
    kPrompt,  // what a token of the prompt is scored with
    kToken,   // a generated or scored token, with its log-probability
    kText,    // what a generated token makes certain of the text
    kPicks,   // the experts that a token picks
    kFinish,
  };
  Kind kind;
  uint32_t index = 0;     // of the candidate or continuation
  uint32_t position = 0;  // of the token among those of its kind; for picks, in the whole text

  auto Tie() const { return std::tie(kind, index, position); }
  bool operator<(const AnswerPart& other) const { return Tie() < other.Tie(); }
};

// Everything that a request is told but its timings, as text that shows floats with all their bits.
using Answer = std::map<AnswerPart, std::string>;

// Where two answers differ first, and how; nullopt when they are the same to the last bit.
std::optional<std::string> FirstDifference(const Answer& expected, const Answer& actual);

// Keeps the answer to one request. `expert_layers` (of the model), and `prompt_tokens` (of the
// prompt or context), say which tokens a trace is of; `continuations` has their lengths.
//
// Threads: OnDone and WaitDone may be on different ones; the answer is for after WaitDone.
class AnswerSink final : public ResponseSink {
 public:
  AnswerSink(absl::Span<const ExpertLayer> expert_layers, size_t prompt_tokens,
             std::vector<size_t> continuations = {})
      : expert_layers_(expert_layers),
        prompt_tokens_(prompt_tokens),
        continuations_(std::move(continuations)) {}

  // Where the tokens begin that are generated now: as many came before, in another stream.
  void set_resumed(uint32_t tokens) { resumed_ = tokens; }

  void OnStarted(uint32_t cached_tokens) override { cached_tokens_ = cached_tokens; }
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnPromptTrace(ExpertTrace trace) override;
  void OnFinished(CandidateFinish finish) override;
  void OnScore(ContinuationScore score) override;
  void OnDone(absl::Status status, const Timings& timings) override;

  // The status of OnDone; DEADLINE_EXCEEDED when it does not come in two minutes.
  absl::Status WaitDone() const;
  bool done() const;
  const Answer& answer() const { return answer_; }
  // Of its first tokens, which are in no trace: they were computed for somebody else.
  uint32_t cached_tokens() const { return cached_tokens_; }
  uint32_t preemptions() const { return preemptions_; }
  // The generated tokens of candidate 0.
  const std::vector<TokenId>& tokens() const { return tokens_; }

 private:
  void Put(AnswerPart part, std::string text);
  void PutTrace(const ExpertTrace& trace, uint32_t index, size_t end);

  const absl::Span<const ExpertLayer> expert_layers_;
  const size_t prompt_tokens_;
  const std::vector<size_t> continuations_;
  uint32_t resumed_ = 0;
  uint32_t cached_tokens_ = 0;
  uint32_t preemptions_ = 0;

  Answer answer_;
  std::vector<TokenId> tokens_;
  std::map<uint32_t, uint32_t> received_;  // tokens, by candidate

  mutable absl::Mutex mu_;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
