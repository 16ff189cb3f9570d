#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "server/engine/candidate.h"
#include "server/engine/running_request.h"
#include "server/engine/trace_recorder.h"

namespace peerage {

// A GenerateRequest on its way through the engine. The prompt is computed once, up to its last
// token, by the sequence of candidate 0; the others fork from it there, and each computes the last
// prompt token itself, so that each samples its first token from its own slot.
//
// Threads: as RunningRequest.
class Generation final : public RunningRequest {
 public:
  Generation(RequestHandle handle, GenerateRequest request, std::shared_ptr<ResponseSink> sink,
             const ModelFacts& model);

  std::string DescribePositions() const override;
  const SchedulingParams& scheduling() const override { return request_.scheduling; }
  const SamplingParams& sampling() const override { return request_.sampling; }
  absl::Span<const TokenId> prompt() const override { return request_.prompt; }
  int64_t prompt_tokens() const override { return prompt_size(); }
  bool traced() const override { return trace_.wanted(); }
  std::optional<SequencePlan> NextSequence() const override;
  bool HasMoreSequences() const override { return candidates_.size() < request_.candidates; }
  std::unique_ptr<Sequence> StartSequence() override;
  void AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const override;
  void Deliver(Sequence& sequence, const ChunkResult& result, absl::Time now) override;
  bool done() const override { return num_finished_ == request_.candidates; }
  RequestEvent Usage() const override;

 private:
  void DeliverStart() override;
  void DeliverToken(Sequence& sequence, const RowOutput& output, absl::Time now);
  void DeliverFinish(CandidateFinish finish);

  int32_t prompt_size() const { return static_cast<int32_t>(request_.prompt.size()); }

  const GenerateRequest request_;
  const Tokenizer* const tokenizer_;
  Sequence* first_ = nullptr;          // candidate 0's; used only until the others have forked
  std::vector<Candidate> candidates_;  // [started candidates]
  uint32_t num_finished_ = 0;
  std::array<uint32_t, 3> finished_ = {};  // by FinishReason
  TraceRecorder trace_;
};

}  // namespace peerage
