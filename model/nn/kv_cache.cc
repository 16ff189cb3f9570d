#include "model/nn/kv_cache.h"

#include <cstring>
#include <utility>

#include "base/status_macros.h"

namespace peerage::nn {

absl::StatusOr<KvCache> KvCache::Make(const Size& size) {
  ASSIGN_OR_RETURN(Storage storage,
                   Allocate(BlockBytes(size.layers) * size.num_blocks, Pages::kHuge));
  std::vector<size_t> offsets = {0};
  for (const kernels::AttentionShape& layer : size.layers) {
    offsets.push_back(offsets.back() + kernels::KvBlockFloats(layer));
  }
  return KvCache(std::move(offsets), std::move(storage));
}

size_t KvCache::BlockBytes(absl::Span<const kernels::AttentionShape> layers) {
  size_t floats = 0;
  for (const kernels::AttentionShape& layer : layers) floats += kernels::KvBlockFloats(layer);
  return floats * sizeof(float);
}

void KvCache::Copy(absl::Span<const BlockCopy> copies) const {
  const size_t block_floats = offsets_.back();
  for (const BlockCopy& copy : copies) {
    std::memcpy(storage_.floats() + copy.to * block_floats,
                storage_.floats() + copy.from * block_floats, block_floats * sizeof(float));
  }
}

}  // namespace peerage::nn
