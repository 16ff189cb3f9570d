#pragma once

#include <cstdint>
#include <vector>

#include "model/kernels/attention_cuda.h"
#include "model/nn/arena.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cuda {

// Keys and values in blocks of 32 positions; a block id means the same positions in every layer.
// Layout [block][layer], each as in kernels/attention_cuda.h: a block is copied as one run.
class KvCache {
 public:
  KvCache(const ModelPlan& plan, kernels::cuda::DeviceFloat type);

  // Bytes of one block over all layers.
  size_t block_bytes() const { return offsets_.back() * kernels::cuda::BytesOf(type_); }

  void Lay(int num_blocks, Arena& arena);

  uint8_t* data() const { return data_; }
  kernels::cuda::KvView layer(int index) const;

 private:
  const kernels::cuda::DeviceFloat type_;
  std::vector<size_t> offsets_;  // of each layer within a block, in elements; then the block's size
  uint8_t* data_ = nullptr;
};

}  // namespace peerage::nn::cuda
