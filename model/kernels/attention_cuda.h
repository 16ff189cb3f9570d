// Causal grouped-query attention over a paged KV cache (model/kernels/attention.h) on a device.
//
// A block of one layer holds, for each KV head, the keys [32][head_dim], then for each KV head the
// values likewise; block id lies at kv + id * block_stride elements. The online softmax (Milakov
// and Gimelshein 2018) runs over splits of kSplitTokens positions anchored at position 0, each by
// itself; splits are merged in order. So a row's bits do not depend on how many other rows share
// its item, nor on whether splits run side by side.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

inline constexpr int kBlockTokens = 32;          // positions of one KV block
inline constexpr int kSplitTokens = 128;         // positions of one split
inline constexpr int kAttentionItemTokens = 16;  // query rows of one item, at most
inline constexpr int kMaxHeadDim = 256;

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;  // divides heads
  int head_dim = 0;  // 1..kMaxHeadDim
  float scale = 1;   // 1/sqrt(head_dim)
};

// The cache of one layer.
struct KvView {
  void* kv = nullptr;  // the layer's part of block 0
  DeviceFloat type = DeviceFloat::kBF16;
  size_t block_stride = 0;  // elements from a block to the next
};

// Elements of one block of one layer.
constexpr size_t KvBlockElements(const AttentionShape& shape) {
  return size_t{2} * shape.kv_heads * shape.head_dim * kBlockTokens;
}

// Turns queries in place, turns keys, and stores keys and values at their positions.
struct RotateAndStoreArgs {
  AttentionShape shape;
  bool interleaved = false;  // pairs (2i, 2i + 1), else (i, i + head_dim / 2)
  // cos, then sin [head_dim / 2] of every position (kernels::RotaryAngles).
  const float* angles = nullptr;  // [positions][2][head_dim / 2]
  float* qkv = nullptr;           // [count][(heads + 2 kv_heads) * head_dim]
  KvView cache;
  const int32_t* positions = nullptr;  // [count], -1: padding
  const int32_t* blocks = nullptr;     // [count]: the block that holds the position
  int count = 0;
};
cudaError_t RotateAndStore(const RotateAndStoreArgs& args, cudaStream_t stream);

// Consecutive query rows of one sequence. No tokens: padding.
struct AttentionItem {
  int32_t token = 0;     // first row of q and out
  int32_t tokens = 0;    // 0..kAttentionItemTokens
  int32_t position = 0;  // of the first row
  int32_t sequence = 0;  // row of the block table
};

struct AttentionArgs {
  AttentionShape shape;
  // [count][q_stride], heads side by side, turned. Rows of it and heads of the cache begin at
  // multiples of 16 bytes, or bf16 caches of the usual widths are refused.
  const float* q = nullptr;
  size_t q_stride = 0;
  KvView cache;
  const int32_t* block_table = nullptr;  // [sequences][max_blocks]
  int max_blocks = 0;
  const AttentionItem* items = nullptr;  // [num_items] on the device
  int num_items = 0;
  const float* head_gates = nullptr;  // [count][heads]: factors of outputs; 0 skips. Or null
  void* out = nullptr;                // [count][heads * head_dim]; padded rows are not written
  DeviceFloat out_type = DeviceFloat::kBF16;
  // Splits side by side, when the items alone do not fill a device: `splits` is enough for the
  // longest context of the step. 0: one after the other; the bits are the same.
  int splits = 0;
  int count = 0;              // rows of q
  float* partials = nullptr;  // AttentionPartialFloats(shape, count, splits)
};
size_t AttentionPartialFloats(const AttentionShape& shape, int count, int splits);
cudaError_t Attention(const AttentionArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
