#include "model/nn/kv_cache.h"

#include <cstring>
#include <utility>

#include "model/status_macros.h"

namespace peerage::nn {

absl::StatusOr<KvCache> KvCache::Make(const Size& size) {
  ASSIGN_OR_RETURN(Storage storage,
                   Allocate(BlockBytes(size.shape, size.num_layers) * size.num_blocks));
  return KvCache(size, std::move(storage));
}

void KvCache::Copy(absl::Span<const BlockCopy> copies) const {
  const size_t bytes = kernels::KvBlockFloats(size_.shape) * sizeof(float);
  for (int i = 0; i < size_.num_layers; ++i) {
    for (const BlockCopy& copy : copies) std::memcpy(block(i, copy.to), block(i, copy.from), bytes);
  }
}

}  // namespace peerage::nn
