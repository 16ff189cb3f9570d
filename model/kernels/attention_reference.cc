#include <algorithm>
#include <cmath>
#include <vector>

#include "model/kernels/attention.h"

namespace peerage::kernels {

void AttentionReference(const AttentionArgs& args, const AttentionItem& item) {
  const auto [heads, kv_heads, head_dim, scale] = args.shape;
  const size_t head_floats = size_t{kBlockTokens} * head_dim;
  const int heads_per_kv = heads / kv_heads;
  const auto key_head = [&](int position) {
    const int32_t block = item.blocks[position / kBlockTokens];
    return args.kv + block * args.block_stride + 2 * item.kv_head * head_floats;
  };
  for (int line = 0; line < item.tokens * heads_per_kv; ++line) {
    const int t = line / heads_per_kv;
    const int head = item.kv_head * heads_per_kv + line % heads_per_kv;
    const float* q = args.q + (item.row + t) * args.q_stride + head * head_dim;
    std::vector<double> p(item.position + t + 1);
    double highest = -INFINITY;
    for (size_t j = 0; j < p.size(); ++j) {
      for (int i = 0; i < head_dim; ++i) {
        p[j] += double{q[i]} * key_head(j)[i * kBlockTokens + j % kBlockTokens];
      }
      p[j] *= scale;
      highest = std::max(highest, p[j]);
    }
    double sum = 0;
    for (double& x : p) sum += x = std::exp(x - highest);
    for (int i = 0; i < head_dim; ++i) {
      double y = 0;
      for (size_t j = 0; j < p.size(); ++j) {
        const float* values = key_head(j) + head_floats;
        y += p[j] / sum * values[j % kBlockTokens * head_dim + i];
      }
      args.out[(item.row + t) * args.out_stride + head * head_dim + i] = static_cast<float>(y);
    }
  }
}

// A plain loop is all that it needs.
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
