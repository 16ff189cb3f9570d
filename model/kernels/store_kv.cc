#include <algorithm>

#include "model/kernels/attention.h"

namespace peerage::kernels {

void StoreKv(const StoreKvArgs& args) {
  const int head_dim = args.shape.head_dim;
  const size_t head_floats = size_t{kBlockTokens} * head_dim;
  const int slot = args.position % kBlockTokens;
  for (int head = 0; head < args.shape.kv_heads; ++head) {
    float* keys = args.block + 2 * head * head_floats;
    float* values = keys + head_floats;
    const float* k = args.k + head * head_dim;
    for (int i = 0; i < head_dim; ++i) keys[i * kBlockTokens + slot] = k[i];
    std::copy_n(args.v + head * head_dim, head_dim, values + slot * head_dim);
  }
}

}  // namespace peerage::kernels
