#include "model/nn/cuda/kv_cache.h"

namespace peerage::nn::cuda {

KvCache::KvCache(const ModelPlan& plan, kernels::cuda::DeviceFloat type)
    : type_(type), offsets_{0} {
  for (const BlockPlan& block : plan.blocks) {
    offsets_.push_back(offsets_.back() + block.KvValues() * kernels::cuda::kBlockTokens);
  }
}

void KvCache::Lay(int num_blocks, Arena& arena) { data_ = arena.Take(block_bytes() * num_blocks); }

kernels::cuda::KvView KvCache::layer(int index) const {
  return {.kv = data_ + offsets_[index] * kernels::cuda::BytesOf(type_),
          .type = type_,
          .block_stride = offsets_.back()};
}

}  // namespace peerage::nn::cuda
