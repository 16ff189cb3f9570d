#include "model/nn/cpu/kv_cache.h"

#include <cstring>

#include "model/kernels/attention.h"

namespace peerage::nn::cpu {

KvCache::KvCache(const ModelPlan& plan) : offsets_{0} {
  for (const BlockPlan& block : plan.blocks) {
    offsets_.push_back(offsets_.back() + block.KvValues() * kernels::kBlockTokens);
  }
}

void KvCache::Lay(int num_blocks, Arena& arena) {
  data_ = arena.TakeArray<float>(offsets_.back() * num_blocks);
}

void KvCache::Copy(absl::Span<const BlockCopy> copies) const {
  const size_t block_floats = offsets_.back();
  for (const BlockCopy& copy : copies) {
    std::memcpy(data_ + copy.to * block_floats, data_ + copy.from * block_floats,
                block_floats * sizeof(float));
  }
}

}  // namespace peerage::nn::cpu
