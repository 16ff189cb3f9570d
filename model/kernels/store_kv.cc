#include <algorithm>

#include "model/kernels/attention.h"

namespace peerage::kernels {

void StoreKv(const StoreKvArgs& args) {
  const auto [heads, kv_heads, head_dim, scale] = args.shape;
  const int width = kv_heads * head_dim;
  const int slot = args.position % kBlockTokens;
  float* keys = args.block + slot;
  for (int i = 0; i < width; ++i) keys[size_t{kBlockTokens} * i] = args.k[i];
  float* values = args.block + size_t{kBlockTokens} * width + size_t{1} * slot * head_dim;
  for (int head = 0; head < kv_heads; ++head) {
    std::copy_n(args.v + head * head_dim, head_dim, values);
    values += size_t{kBlockTokens} * head_dim;
  }
}

}  // namespace peerage::kernels
