#pragma once

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/kernels/attention.h"
#include "model/language_model.h"
#include "model/nn/storage.h"

namespace peerage::nn {

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
  struct Size {
    std::vector<kernels::AttentionShape> layers;
    int num_blocks = 0;
  };
  static absl::StatusOr<KvCache> Make(const Size& size);

  // Bytes of one block over all layers.
  static size_t BlockBytes(absl::Span<const kernels::AttentionShape> layers);

  KvLayer layer(int index) const { return {storage_.floats() + offsets_[index], offsets_.back()}; }

  // Copies whole blocks, in every layer.
  void Copy(absl::Span<const BlockCopy> copies) const;

 private:
  KvCache(std::vector<size_t> offsets, Storage storage)
      : offsets_(std::move(offsets)), storage_(std::move(storage)) {}

  std::vector<size_t> offsets_;  // of each layer within a block, in floats; then the block's size
  Storage storage_;
};

}  // namespace peerage::nn
