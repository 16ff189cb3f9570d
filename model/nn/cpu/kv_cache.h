#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cpu {

// One layer's part of the cache: block id lies at data + id * block_stride floats.
struct KvLayer {
  float* data = nullptr;
  size_t block_stride = 0;
};

// Keys and values in blocks of 32 positions; a block id means the same positions in every layer.
// Layout [block][layer], each as in kernels/attention.h: what a sequence holds is contiguous, so
// huge pages serve it and memory is touched only as far as blocks are used.
class KvCache {
 public:
  explicit KvCache(const ModelPlan& plan);

  // Bytes of one block over all layers.
  size_t block_bytes() const { return offsets_.back() * sizeof(float); }

  void Lay(int num_blocks, Arena& arena);

  KvLayer layer(int index) const { return {data_ + offsets_[index], offsets_.back()}; }

  // Copies whole blocks, in every layer.
  void Copy(absl::Span<const BlockCopy> copies) const;

 private:
  std::vector<size_t> offsets_;  // of each layer within a block, in floats; then the block's size
  float* data_ = nullptr;
};

}  // namespace peerage::nn::cpu
