#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "peerage/v1/experts.pb.h"
#include "server/engine/expert_trace.h"

namespace peerage {

// Gathers the expert traces of a request's parts as the engine delivers them, in any order, and
// makes the answer of them: the prompt or context first, then the others by index. Of a summary it
// keeps the sums alone, whatever the number of parts.
//
// Threads: one at a time. Adding a part sorts and sums what it has: not for a worker's thread.
class TraceAnswer {
 public:
  // `layers`, the model's, must outlive the answer.
  // `control`: under which the request runs, if it does under any.
  TraceAnswer(ExpertTraceLevel level, absl::Span<const ExpertLayer> layers,
              std::optional<v1::ExpertControl> control = std::nullopt)
      : level_(level), layers_(layers), control_(std::move(control)) {}

  bool wanted() const { return level_ != ExpertTraceLevel::kNone; }

  // So many of the first tokens are in no part.
  void SetCached(uint32_t tokens) { cached_tokens_ = tokens; }
  void AddPrompt(ExpertTrace trace) { Add(0, std::move(trace)); }
  void AddPart(uint32_t index, ExpertTrace trace) { Add(index + 1, std::move(trace)); }

  // What was added since the last call, as an answer of its own; the control is in the first.
  TraceAnswer Cut();

  v1::ExpertTrace ToProto() const;

 private:
  using Sums = std::vector<std::vector<ExpertTally>>;  // [layers][experts that were picked]

  void Add(size_t part, ExpertTrace trace);
  void AddSums(size_t layer, v1::LayerTrace& result) const;
  void AddPicks(size_t layer, v1::LayerTrace& result) const;

  ExpertTraceLevel level_;
  absl::Span<const ExpertLayer> layers_;
  std::optional<v1::ExpertControl> control_;
  uint32_t cached_tokens_ = 0;
  Sums sums_;                       // none before the first part
  std::vector<ExpertTrace> parts_;  // of a full trace, in order; one that was not added is empty
};

}  // namespace peerage
