#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/distinct_experts.h"
#include "server/engine/observer.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/engine/sequence.h"
#include "server/engine/step_builder.h"

namespace peerage {

// What a request must hold from its admission on, so that it can always go on to its end without
// taking anything from another one.
struct RequestNeeds {
  int64_t positions = 0;  // of the context, by its longest sequence, the last token included
  int64_t blocks = 0;     // KV blocks
  int64_t slots = 0;      // of the model
  int64_t sequences = 0;  // computed at the same time
};

// What an engine has for all requests together.
struct EngineCapacity {
  ModelCapacity model;
  uint32_t context_length = 0;
  int32_t max_sequences = 0;
};

// What a running request knows of its model. All of it must outlive the request.
struct ModelFacts {
  const Tokenizer* tokenizer = nullptr;
  absl::Span<const ExpertLayer> expert_layers = {};
  int32_t block_tokens = 1;
};

// A request from the door to its end: what it needs, which sequences it starts, what it asks of
// each chunk, and what becomes of the results. Generation and Scoring say how, and nobody else
// tells the two apart; the scheduler decides when.
//
// Threads: none. It is made at the door, waits in the queue, and then belongs to one worker.
class RunningRequest {
 public:
  RunningRequest(RequestHandle handle, std::shared_ptr<ResponseSink> sink,
                 const RequestNeeds& needs)
      : handle_(handle), sink_(std::move(sink)), needs_(needs) {}
  virtual ~RunningRequest() = default;

  const RequestNeeds& needs() const { return needs_; }
  // How needs().positions come together, for an error: "prompt of 3 tokens + max_tokens of 4".
  virtual std::string DescribePositions() const = 0;

  virtual const SchedulingParams& scheduling() const = 0;
  virtual const SamplingParams& sampling() const = 0;
  virtual absl::Span<const TokenId> prompt() const = 0;  // what penalties look at
  virtual int64_t prompt_tokens() const = 0;             // of the prompt or context
  virtual bool traced() const { return false; }  // whether its chunks' expert picks are wanted

  // Nothing when all have started, or when the next one waits for a result.
  virtual std::optional<SequencePlan> NextSequence() const = 0;
  virtual bool HasMoreSequences() const = 0;
  // Starts what NextSequence told of. The caller gives it its slot and blocks.
  virtual std::unique_ptr<Sequence> StartSequence() = 0;

  // The rows wanted of the sequence's next `count` tokens, the chunk that was added last.
  virtual void AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const = 0;
  // Delivers what a step reported of a chunk whose tokens are now computed.
  virtual void Deliver(Sequence& sequence, const ChunkResult& result, absl::Time now) = 0;
  // Everything was delivered.
  virtual bool done() const = 0;

  // Kind, origin and token counts.
  virtual RequestEvent Usage() const = 0;

  // The request's first step is scheduled.
  void Begin(absl::Time now);
  bool started() const { return timeline_.scheduled.has_value(); }

  // Looks whether the reader keeps up. A parked request is not scheduled.
  void UpdateParking(absl::Time now);
  bool parked() const { return parked_since_.has_value(); }
  absl::Time parked_since() const { return *parked_since_; }

  // What the client got since this was last emptied.
  TokensEvent& tokens() { return tokens_; }

  // The request is to end with this error.
  void Fail(absl::Status status);
  const absl::Status& failure() const { return failure_; }

  RequestHandle handle() const { return handle_; }
  ResponseSink& sink() const { return *sink_; }
  const Timeline& timeline() const { return timeline_; }

  // Started and not finished; the scheduler's bookkeeping.
  std::vector<std::unique_ptr<Sequence>> sequences;
  ReservedResources reserved;
  DistinctExperts distinct_experts;  // the worker's count

 protected:
  // What goes to the sink before any result.
  virtual void DeliverStart() { sink_->OnStarted(); }

  // The client gets a token, or what a step says of some.
  void MarkToken(absl::Time now);

  Timeline timeline_;
  TokensEvent tokens_;

 private:
  const RequestHandle handle_;
  const std::shared_ptr<ResponseSink> sink_;
  const RequestNeeds needs_;
  std::optional<absl::Time> parked_since_;
  absl::Status failure_;
};

// KV blocks that hold so many positions.
int64_t BlocksFor(int64_t positions, int32_t block_tokens);

// OUT_OF_RANGE, with the arithmetic, when the request can never be admitted.
absl::Status CheckFits(const RunningRequest& request, const EngineCapacity& capacity);

// DEADLINE_EXCEEDED when a request that has not started may no longer start.
absl::Status CheckMayStart(const SchedulingParams& scheduling, absl::Time now);

// The i-th token of a row, and the row's alternatives.
TokenLogprob LogprobOf(const RowOutput& row, size_t i);

}  // namespace peerage
