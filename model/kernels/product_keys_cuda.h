// Retrieval by product keys (Lample et al. 2019, section 3; PEER, He 2024, Algorithm 1) on a
// device: model/kernels/product_keys.h, whose order holds here too: higher value, then lower id;
// NaN after every number. No score leaves the chip but those that direct keys bring.
//
// Scores have the precision of f32: with bf16 sub-keys a query is the sum of three bf16 numbers, so
// every product on tensor cores is exact (half widths that are multiples of 16, up to 512, at
// addresses that are). All other scores are f32 fused multiply-adds in order of the width, the bits
// of the CPU. A sub-key that is infinite may make a score NaN instead.
#pragma once

#include <cuda_runtime_api.h>

#include "model/config/activation.h"
#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

inline constexpr int kMaxTopK = 128;
inline constexpr uint32_t kNoExpert = 0xffffffff;  // the id of a padded row's picks

struct ProductKeyShape {
  int heads = 0;
  int top_k = 0;         // 1..min(n * n, kMaxTopK)
  int num_sub_keys = 0;  // n, at most 65536
  int half_width = 0;    // of a query's half; direct keys: not used
  // Sub-keys [sets][n][half_width]: 2 sets that all heads share, or heads * 2, head by head. 0:
  // direct keys, whose scores come in the place of queries.
  int sets = 0;
  uint32_t head_offset = 0;  // between the ids of neighbouring heads; 0: one pool of experts
  RouterScore score = RouterScore::kSoftmax;
};

struct SelectExpertsArgs {
  ProductKeyShape shape;
  const float* queries = nullptr;  // [count][heads][2][half_width]; direct: scores [..][2][n]
  const void* sub_keys = nullptr;
  DeviceFloat sub_key_type = DeviceFloat::kBF16;
  const int32_t* positions = nullptr;  // [count], -1: padding
  uint32_t* ids = nullptr;             // [count][heads][top_k], best first
  float* weights = nullptr;            // likewise; 0 for padding
  int count = 0;
  uint8_t* scratch = nullptr;  // SelectScratchBytes(shape, count), 16-byte aligned
};
size_t SelectScratchBytes(const ProductKeyShape& shape, int count);
cudaError_t SelectExperts(const SelectExpertsArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
