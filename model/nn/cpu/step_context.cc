#include "model/nn/cpu/step_context.h"

#include <algorithm>

#include "model/kernels/rotary.h"

namespace peerage::nn::cpu {

using kernels::AttentionItem;
using kernels::kAttentionTokens;

void StepTables::Assign(const StepBatch& batch) {
  items_.clear();
  for (size_t c = 0; c < batch.chunks().size(); ++c) {
    const Chunk& chunk = batch.chunks()[c];
    const int count = static_cast<int>(chunk.tokens.size());
    for (int i = 0; i < count; i += kAttentionTokens) {
      items_.push_back({.row = batch.first_token(static_cast<int>(c)) + i,
                        .tokens = std::min(kAttentionTokens, count - i),
                        .position = chunk.first_position + i,
                        .blocks = chunk.blocks.data()});
    }
  }
  std::sort(items_.begin(), items_.end(), [](const AttentionItem& a, const AttentionItem& b) {
    return int64_t{a.tokens} * (a.position + a.tokens) >
           int64_t{b.tokens} * (b.position + b.tokens);
  });
  for (RotaryAngles& angles : angles_) angles.current = false;
}

const StepTables::RotaryAngles& StepTables::angles(const RotaryPlan& rotary,
                                                   const StepBatch& batch) {
  auto found = std::find_if(angles_.begin(), angles_.end(), [&](const RotaryAngles& angles) {
    return angles.dim == rotary.dim && angles.theta == rotary.theta;
  });
  if (found == angles_.end()) {
    found = angles_.insert(found, RotaryAngles{.dim = rotary.dim, .theta = rotary.theta});
  }
  if (found->current) return *found;
  found->current = true;
  found->angles.resize(size_t(batch.size()) * rotary.dim);
  for (int t = 0; t < batch.size(); ++t) {
    float* cos = found->angles.data() + size_t(t) * rotary.dim;
    kernels::RotaryAngles(batch.tokens()[t].position, rotary.theta, rotary.dim, cos,
                          cos + rotary.dim / 2);
  }
  return *found;
}

}  // namespace peerage::nn::cpu
