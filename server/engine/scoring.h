#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/running_request.h"
#include "server/engine/trace_recorder.h"

namespace peerage {

// A ScoreRequest on its way through the engine. The context is computed once; its last row scores
// the first token of every continuation, so a continuation of one token is finished by it. Each
// longer one is a sequence forked from the context that computes all its tokens but the last.
// Without a context such sequences are fresh ones and their first token has no log-probability.
//
// Threads: as RunningRequest.
class Scoring final : public RunningRequest {
 public:
  Scoring(RequestHandle handle, ScoreRequest request, std::shared_ptr<ResponseSink> sink,
          const ModelFacts& model);

  std::string DescribePositions() const override;
  const SchedulingParams& scheduling() const override { return request_.scheduling; }
  const SamplingParams& sampling() const override { return no_sampling_; }
  absl::Span<const TokenId> prompt() const override { return {}; }
  int64_t prompt_tokens() const override { return context_size(); }
  bool traced() const override { return trace_.wanted(); }
  std::optional<SequencePlan> NextSequence() const override;
  bool HasMoreSequences() const override;
  std::unique_ptr<Sequence> StartSequence() override;
  void AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const override;
  void Deliver(Sequence& sequence, const ChunkResult& result, absl::Time now) override;
  bool done() const override { return num_delivered_ == request_.continuations.size(); }
  RequestEvent Usage() const override;

 private:
  void DeliverStart() override;
  void DeliverFirstTokens(const RowOutput& output);
  // Every continuation has its first token, and those of one token are done.
  void EndFirstTokens();
  void DeliverScore(uint32_t continuation);

  bool context_is_next() const { return !request_.context.empty() && context_ == nullptr; }
  int32_t context_size() const { return static_cast<int32_t>(request_.context.size()); }

  const ScoreRequest request_;
  const SamplingParams no_sampling_;
  std::vector<TokenId> first_tokens_;  // [continuations], the targets of the context's last row
  std::vector<uint32_t> long_ones_;    // continuations of more than one token
  Sequence* context_ = nullptr;        // once started; null when there is no context
  size_t num_started_ = 0;             // of long_ones_
  std::vector<std::vector<TokenLogprob>> scores_;  // [continuations, tokens scored so far]
  size_t num_delivered_ = 0;
  uint32_t scored_tokens_ = 0;
  TraceRecorder trace_;
};

}  // namespace peerage
