#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "server/engine/candidate.h"
#include "server/engine/delivery.h"
#include "server/engine/hidden_recorder.h"
#include "server/engine/trace_recorder.h"

namespace peerage {

// Asks for the prompt's log-probabilities as the prompt is computed, and samples a token wherever a
// candidate has nothing more to compute.
//
// Threads: as Delivery.
class GenerateDelivery final : public Delivery {
 public:
  GenerateDelivery(GenerateRequest request, std::shared_ptr<ResponseSink> sink,
                   const ModelFacts& model);

  const GenerateRequest& request() const { return request_; }

  bool traced() const override { return trace_.wanted(); }
  const ExpertControl& expert_control() const override { return request_.expert_control; }
  // What is forced is before candidates part, or there is one candidate.
  int64_t NextTraceToken(const Sequence& sequence) const override { return sequence.computed; }
  SlotState StateOf(const Sequence& sequence) const override;
  void AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const override;
  std::optional<TokenId> Deliver(Sequence& sequence, const ChunkResult& result,
                                 absl::Time now) override;
  RequestEvent Usage() const override;

 private:
  void DeliverStart(const CachedPrefix& cached) override;
  void DeliverCachedLogprobs(const CachedPrefix& cached);
  void Resume();
  void DeliverPicks(const Sequence& sequence, const ChunkResult& result);
  void DeliverPromptLogprobs(Sequence& sequence, const ChunkResult& result);
  std::optional<TokenId> DeliverToken(uint32_t candidate, const RowOutput& output, absl::Time now);
  void DeliverFinish(CandidateFinish finish);

  int32_t prompt_size() const { return static_cast<int32_t>(request_.prompt.size()); }

  const GenerateRequest request_;
  const Tokenizer* const tokenizer_;
  std::vector<Candidate> candidates_;  // none before the start
  uint32_t cached_prompt_tokens_ = 0;
  uint32_t num_finished_ = 0;
  std::array<uint32_t, 3> finished_ = {};  // by FinishReason
  TraceRecorder trace_;
  HiddenRecorder hidden_;
};

}  // namespace peerage
