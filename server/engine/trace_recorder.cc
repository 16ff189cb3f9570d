#include "server/engine/trace_recorder.h"

#include <algorithm>
#include <utility>

namespace peerage {

TraceRecorder::TraceRecorder(ExpertTraceLevel level, absl::Span<const ExpertLayer> layers,
                             size_t prompt_tokens, size_t parts)
    : level_(level),
      layers_(layers),
      prompt_tokens_(static_cast<int32_t>(prompt_tokens)),
      num_parts_(parts) {}

void TraceRecorder::Start(int32_t cached_tokens) {
  if (!wanted()) return;
  prompt_end_ = cached_tokens;
  prompt_ = NewTrace();
  parts_.assign(num_parts_, NewTrace());
}

void TraceRecorder::Record(size_t part, const ChunkResult& result, int32_t reached) {
  if (!wanted()) return;
  const auto index_of = [&result](int32_t position) {
    return std::clamp(position - result.first_position, 0, result.num_tokens);
  };
  // Only who computes a prompt token first records it.
  const int32_t prompt_part = index_of(prompt_tokens_);
  const int32_t known = std::min(index_of(prompt_end_), prompt_part);
  Append(prompt_, result, known, prompt_part - known);
  prompt_end_ = std::max(prompt_end_, result.first_position + prompt_part);
  const int32_t own = std::max(prompt_part, index_of(reached));
  if (own < result.num_tokens) Append(parts_[part], result, own, result.num_tokens - own);
}

void TraceRecorder::Append(ExpertTrace& trace, const ChunkResult& result, int32_t first,
                           int32_t count) const {
  trace.tokens += static_cast<uint32_t>(count);
  for (size_t i = 0; i < trace.layers.size(); ++i) {
    trace.layers[i].Append(result.PicksOf(i, layers_[i].picks_per_token(), first, count));
  }
}

std::vector<ExpertPicks> TraceRecorder::PicksOf(const ChunkResult& result, int32_t first) const {
  std::vector<ExpertPicks> picks;
  for (size_t i = 0; i < layers_.size(); ++i) {
    picks.push_back(
        result.PicksOf(i, layers_[i].picks_per_token(), first, result.num_tokens - first));
  }
  return picks;
}

ExpertTrace TraceRecorder::TakePrompt() { return std::exchange(prompt_, {}); }

ExpertTrace TraceRecorder::TakePart(size_t part) { return std::exchange(parts_[part], {}); }

ExpertTrace TraceRecorder::NewTrace() const {
  const bool keep_all = level_ == ExpertTraceLevel::kFull;
  return {.layers = std::vector<PickLog>(layers_.size(), PickLog(keep_all))};
}

}  // namespace peerage
