#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "server/engine/expert_trace.h"
#include "server/engine/step_builder.h"

namespace peerage {

// Keeps the trace of a running request, in parts: what its branches share (the prompt, the
// context), then each candidate or continuation. A prompt token that every candidate computes for
// itself is in the prompt's part, once.
//
// Threads: none; belongs to one worker.
class TraceRecorder {
 public:
  // `layers` must outlive the recorder; `prompt_tokens` come before the `parts`.
  TraceRecorder(ExpertTraceLevel level, absl::Span<const ExpertLayer> layers, size_t prompt_tokens,
                size_t parts);

  // The request's first step is scheduled: one that waits keeps nothing. So many of its first
  // tokens are not computed.
  void Start(int32_t cached_tokens);

  bool wanted() const { return level_ != ExpertTraceLevel::kNone; }

  // The tokens of a chunk of this part's sequence, or of the trunk. Those at positions below
  // `reached` were recorded before.
  void Record(size_t part, const ChunkResult& result, int32_t reached);

  // What the tokens of a chunk picked, from its `first` on, by expert layer; whatever was recorded
  // of them.
  std::vector<ExpertPicks> PicksOf(const ChunkResult& result, int32_t first) const;

  // What the prompt's trace has so far; complete as soon as a part has any token of its own or has
  // sampled one. To be taken once.
  ExpertTrace TakePrompt();
  ExpertTrace TakePart(size_t part);

 private:
  ExpertTrace NewTrace() const;
  void Append(ExpertTrace& trace, const ChunkResult& result, int32_t first, int32_t count) const;

  const ExpertTraceLevel level_;
  const absl::Span<const ExpertLayer> layers_;
  const int32_t prompt_tokens_;
  const size_t num_parts_;
  ExpertTrace prompt_;
  int32_t prompt_end_ = 0;  // of positions of the prompt that are recorded, or not computed
  std::vector<ExpertTrace> parts_;
};

}  // namespace peerage
