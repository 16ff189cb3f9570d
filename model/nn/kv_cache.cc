#include "model/nn/kv_cache.h"

#include <cstring>
#include <utility>

#include "model/status_macros.h"

namespace peerage::nn {

absl::StatusOr<KvCache> KvCache::Make(const Size& size) {
  ASSIGN_OR_RETURN(
      Storage storage,
      Allocate(BlockBytes(size.shape, size.num_layers) * size.num_blocks, Pages::kHuge));
  return KvCache(size, std::move(storage));
}

void KvCache::Copy(absl::Span<const BlockCopy> copies) const {
  for (const BlockCopy& copy : copies) {
    std::memcpy(storage_.floats() + copy.to * block_floats(),
                storage_.floats() + copy.from * block_floats(), block_floats() * sizeof(float));
  }
}

}  // namespace peerage::nn
