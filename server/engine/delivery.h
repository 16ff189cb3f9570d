#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/experts/expert_control.h"
#include "model/language_model.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/distinct_experts.h"
#include "server/engine/hidden_recorder.h"
#include "server/engine/observer.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/engine/sequence.h"
#include "server/engine/step_builder.h"

namespace peerage {

// What a request found in the prefix cache.
struct CachedPrefix {
  int32_t queried = 0;  // tokens that it looked for
  int32_t tokens = 0;   // and found
  // Of these tokens and the one behind them, where they are wanted.
  std::vector<TokenLogprob> logprobs = {};
};

// What a delivery knows of its model. All of it must outlive the delivery.
struct ModelFacts {
  const Tokenizer* tokenizer = nullptr;
  absl::Span<const ExpertLayer> expert_layers = {};
};

// The other half of a task: what is asked of the chunks that the scheduler chose, and what becomes
// of the answers. GenerateDelivery and ScoreDelivery say how, and nobody else tells the two apart.
//
// Threads: none. It is made at the door and then belongs to one worker.
class Delivery {
 public:
  Delivery(std::shared_ptr<ResponseSink> sink, absl::Time arrival) : sink_(std::move(sink)) {
    timeline_.arrival = arrival;
  }
  virtual ~Delivery() = default;

  virtual bool traced() const = 0;  // whether its chunks' expert picks are wanted
  virtual const ExpertControl& expert_control() const = 0;
  // Which of a trace's tokens, and so of the control's, is the sequence's next one.
  virtual int64_t NextTraceToken(const Sequence& sequence) const = 0;
  // What a slot of the sequence draws by.
  virtual SlotState StateOf(const Sequence& sequence) const = 0;
  // The rows wanted of the sequence's next `count` tokens, the chunk that was added last: of tokens
  // that were reached before, the results are delivered.
  virtual void AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const = 0;
  // Delivers what a step reported of a chunk whose tokens are now computed, of those that had not
  // been reached before. The token with which the sequence goes on, if it does.
  virtual std::optional<TokenId> Deliver(Sequence& sequence, const ChunkResult& result,
                                         absl::Time now) = 0;
  // Kind, origin and token counts.
  virtual RequestEvent Usage() const = 0;

  // The request's first step is scheduled, or it is found to need none.
  void Begin(const CachedPrefix& cached, absl::Time now);
  bool begun() const { return timeline_.scheduled.has_value(); }

  // What the client got since this was last emptied.
  TokensEvent& tokens() { return tokens_; }
  void SetPreemptions(uint32_t preemptions) { timeline_.preemptions = preemptions; }
  // Precondition: not let go of.
  ResponseSink& sink() const { return *sink_; }
  // The sink was told of the end. What the delivery holds beside it stays.
  void LetGoOfSink() { sink_ = nullptr; }
  const Timeline& timeline() const { return timeline_; }

  DistinctExperts distinct_experts;  // the worker's count

 protected:
  // What goes to the sink before any result.
  virtual void DeliverStart(const CachedPrefix& cached) = 0;

  // A part is complete: hands on its hidden states and, before the first part's, the prompt's.
  void DeliverHidden(HiddenRecorder& hidden, bool is_first, uint32_t part);

  // The client gets a token, or what a step says of some.
  void MarkToken(absl::Time now);

  TokensEvent tokens_;

 private:
  std::shared_ptr<ResponseSink> sink_;
  Timeline timeline_;
};

// The i-th token of a row, and the row's alternatives.
TokenLogprob LogprobOf(const RowOutput& row, size_t i);

}  // namespace peerage
