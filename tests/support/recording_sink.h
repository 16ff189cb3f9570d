#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/response_sink.h"

namespace peerage {

// Everything a sink was told, in order where it matters. What breaks the contract of ResponseSink
// (a second OnDone, a token after a finish, ...) fails the test at once.
//
// Threads: safe from many.
class RecordingSink final : public ResponseSink {
 public:
  struct Candidate {
    std::string text;
    std::vector<TokenId> tokens;
    std::vector<TokenLogprob> logprobs;
    std::optional<CandidateFinish> finish;
  };

  // OnPicks, of one layer.
  struct Picks {
    uint32_t candidate = 0;
    uint32_t first_position = 0;
    uint32_t tokens = 0;
    size_t layer = 0;
    std::vector<uint32_t> ids;
    std::vector<float> weights;
  };

  struct Record {
    bool started = false;
    uint32_t cached_tokens = 0;
    std::vector<Picks> picks;
    std::vector<TokenLogprob> prompt_logprobs;
    std::optional<ExpertTrace> prompt_trace;
    std::map<std::optional<uint32_t>, HiddenStates> hidden;  // by part
    std::map<uint32_t, Candidate> candidates;
    std::map<uint32_t, std::vector<TokenLogprob>> scores;
    std::map<uint32_t, ExpertTrace> score_traces;
    std::optional<absl::Status> status;  // of OnDone
    Timings timings;
  };

  void OnStarted(uint32_t cached_tokens) override;
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnPicks(const TokenPicks& picks) override;
  void OnDelta(TokenDelta delta) override;
  void OnPromptTrace(ExpertTrace trace) override;
  void OnHiddenStates(HiddenStates states) override;
  void OnFinished(CandidateFinish finish) override;
  void OnScore(ContinuationScore score) override;
  void OnDone(absl::Status status, const Timings& timings) override;
  bool HasRoom() const override;

  void set_has_room(bool has_room);

  Record record() const;
  bool done() const;
  // Waits for OnDone and returns its status; fails the test when it does not come in a minute.
  absl::Status WaitDone() const;
  // Waits until candidate 0 has this many tokens.
  void WaitTokens(size_t count) const;

 private:
  void CheckRunning() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  Record record_ ABSL_GUARDED_BY(mu_);
  bool has_room_ ABSL_GUARDED_BY(mu_) = true;
};

}  // namespace peerage
