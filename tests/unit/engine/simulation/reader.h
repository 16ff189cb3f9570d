#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "server/engine/response_sink.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/verdict.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// Where readers tell what they see; all of it outlives them.
struct ReaderParts {
  const Tokenizer* tokenizer = nullptr;
  Ledger* ledger = nullptr;
  Verdict* verdict = nullptr;
};

// Reads the answer to a request and knows, token by token, what it must be, whatever runs beside
// it. Finds what breaks the contract of ResponseSink, too: a second end, a token after a finish.
//
// Threads: none.
class Reader : public ResponseSink {
 public:
  // `arrival` must outlive the reader.
  static std::shared_ptr<Reader> Of(const Arrival& arrival, const ReaderParts& parts);

  bool begun() const { return begun_; }
  bool done() const { return status_.has_value(); }
  const absl::Status& status() const { return *status_; }
  void set_has_room(bool has_room) { has_room_ = has_room; }

  void OnStarted(uint32_t cached_tokens) override;
  void OnPromptTrace(ExpertTrace trace) override;
  void OnDone(absl::Status status, const Timings& timings) override;
  // So often it was thrown out, to be computed anew.
  void ExpectPreemptions(uint32_t preemptions) { preemptions_ = preemptions; }
  bool HasRoom() const override { return has_room_; }

  // What is told of the request's end, before its reader hears of it, must be what it got.
  void CheckUsage(const RequestEvent& event);

 protected:
  Reader(const Arrival& arrival, const ReaderParts& parts) : arrival_(arrival), parts_(parts) {}

  virtual absl::Span<const TokenId> prompt() const = 0;
  virtual absl::Span<const TokenId> known() const { return prompt(); }  // resumed tokens, too
  virtual absl::Span<const TokenId> traced_prompt() const { return prompt(); }
  virtual ExpertTraceLevel trace() const = 0;
  virtual bool complete() const = 0;  // whether there is nothing more to come
  virtual void CheckCounts(const RequestEvent& event) = 0;

  template <typename... Parts>
  void Require(bool holds, const Parts&... parts) {
    parts_.verdict->Require(holds, "request ", arrival_.handle, ": ", parts...);
  }
  void CheckRunning();
  // Of the request's first result that the whole prompt is computed for.
  void MarkWholePrompt();
  void CheckScore(const TokenLogprob& score, uint64_t past, TokenId token, int32_t alternatives);
  // A full trace has exactly what these tokens picked, in order.
  void CheckTrace(const ExpertTrace& trace, absl::Span<const TokenId> tokens,
                  size_t first_position);
  // The prompt's trace comes before what any part brings.
  void CheckPromptTraceCame();
  // Of its first tokens, which were computed for somebody else.
  size_t cached() const { return cached_; }
  size_t cached_of_prompt() const { return std::min(cached_, prompt().size()); }
  void Log(uint64_t what);

  const Arrival& arrival_;
  const ReaderParts parts_;

 private:
  bool begun_ = false;
  size_t cached_ = 0;
  uint32_t preemptions_ = 0;
  bool has_room_ = true;
  bool has_prompt_trace_ = false;
  bool has_whole_prompt_ = false;
  bool billed_ = false;
  std::optional<absl::Status> status_;
};

}  // namespace peerage
