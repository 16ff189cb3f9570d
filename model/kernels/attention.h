// Causal grouped-query attention over a paged KV cache, in f32.
//
//   out[t, h] = sum_j softmax_j(scale * q[t, h] . k[j, h / group]) * v[j, h / group],
//   j <= position of t
//
// The softmax is the online one (Milakov and Gimelshein 2018), over blocks of 32 positions anchored
// at position 0: a row's bits do not depend on chunking, batch, threads or instruction set.
// What lies behind a row's position is never seen. A NaN that is seen, or a score beyond f32, makes
// NaN.
#pragma once

#include <cstddef>
#include <cstdint>

namespace peerage::kernels {

inline constexpr int kBlockTokens = 32;     // positions of one KV block
inline constexpr int kAttentionTokens = 8;  // query rows of one work item, at most
inline constexpr int kMaxHeadDim = 256;

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;  // divides heads
  int head_dim = 0;  // 1..kMaxHeadDim
  float scale = 1;   // 1/sqrt(head_dim)
};

// One block of one layer: for each KV head its keys, transposed [head_dim][32], then its values
// [32][head_dim]. An item reads one such run of each block, and longer runs come faster from
// memory. Blocks of one layer lie at equal distances: those of other layers may be between them.
constexpr size_t KvBlockFloats(const AttentionShape& shape) {
  return size_t{2} * shape.kv_heads * shape.head_dim * kBlockTokens;
}

// Writes one token's keys and values [kv_heads * head_dim] at `position`.
struct StoreKvArgs {
  AttentionShape shape;
  float* block = nullptr;  // the block that holds the position
  int position = 0;
  const float* k = nullptr;
  const float* v = nullptr;
};
void StoreKv(const StoreKvArgs& args);

// Consecutive query rows of one sequence for one KV head.
struct AttentionItem {
  int row = 0;       // of q and out
  int tokens = 0;    // 1..kAttentionTokens
  int position = 0;  // of the first row
  int kv_head = 0;
  const int32_t* blocks = nullptr;  // the sequence's block ids
};

struct AttentionArgs {
  AttentionShape shape;
  const float* q = nullptr;  // [rows][q_stride], heads side by side
  size_t q_stride = 0;
  const float* kv = nullptr;  // the layer's part of block 0
  size_t block_stride = 0;    // floats from a block to the next, at least KvBlockFloats
  float* out = nullptr;       // [rows][out_stride]
  size_t out_stride = 0;
};
// Computes one item. Uses the stack for scratch.
void Attention(const AttentionArgs& args, const AttentionItem& item);

// The specification: naive loops in double, all positions at once.
void AttentionReference(const AttentionArgs& args, const AttentionItem& item);

}  // namespace peerage::kernels
