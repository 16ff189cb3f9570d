#include "model/nn/step/step_batch.h"

namespace peerage::nn {

void StepBatch::Assign(const StepInput& input) {
  tokens_.clear();
  first_tokens_.clear();
  chunks_ = input.chunks;
  copies_ = input.copies;
  for (const Chunk& chunk : chunks_) {
    first_tokens_.push_back(size());
    int32_t position = chunk.first_position;
    for (const TokenId id : chunk.tokens) {
      tokens_.push_back({id, position, chunk.blocks[position / block_tokens_]});
      ++position;
    }
  }
  AssignControls();
}

void StepBatch::AssignControls() {
  controls_.clear();
  for (size_t c = 0; c < chunks_.size(); ++c) {
    if (chunks_[c].control == nullptr) continue;
    controls_.resize(tokens_.size());
    for (size_t i = 0; i < chunks_[c].tokens.size(); ++i) {
      controls_[first_tokens_[c] + i] = {chunks_[c].control,
                                         chunks_[c].control_token + static_cast<int64_t>(i)};
    }
  }
}

}  // namespace peerage::nn
