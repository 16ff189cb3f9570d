#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "server/engine/delivery.h"
#include "server/engine/hidden_recorder.h"
#include "server/engine/trace_recorder.h"

namespace peerage {

// Scores the first token of every continuation in the context's last row, and the later ones as
// each continuation is computed. Without a context a first token has no log-probability.
//
// Threads: as Delivery.
class ScoreDelivery final : public Delivery {
 public:
  ScoreDelivery(ScoreRequest request, std::shared_ptr<ResponseSink> sink, const ModelFacts& model);

  const ScoreRequest& request() const { return request_; }

  bool traced() const override { return trace_.wanted(); }
  const ExpertControl& expert_control() const override { return request_.expert_control; }
  int64_t NextTraceToken(const Sequence& sequence) const override;
  SlotState StateOf(const Sequence& sequence) const override { return {}; }
  void AddRows(const Sequence& sequence, int32_t count, StepBuilder& step) const override;
  std::optional<TokenId> Deliver(Sequence& sequence, const ChunkResult& result,
                                 absl::Time now) override;
  RequestEvent Usage() const override;

 private:
  void DeliverStart(const CachedPrefix& cached) override;
  void DeliverFirstTokens(const RowOutput& output);
  // Every continuation has its first token, and those of one token are done.
  void EndFirstTokens();
  void DeliverScore(uint32_t continuation);

  int32_t context_size() const { return static_cast<int32_t>(request_.context.size()); }

  const ScoreRequest request_;
  std::vector<TokenId> first_tokens_;  // [continuations], the targets of the context's last row
  std::vector<std::vector<TokenLogprob>> scores_;  // [continuations, tokens scored so far]
  size_t num_delivered_ = 0;
  uint32_t scored_tokens_ = 0;
  uint32_t cached_prompt_tokens_ = 0;
  TraceRecorder trace_;
  HiddenRecorder hidden_;
};

}  // namespace peerage
