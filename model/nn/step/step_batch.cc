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
}

}  // namespace peerage::nn
