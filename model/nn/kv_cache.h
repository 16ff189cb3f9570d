#pragma once

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/kernels/attention.h"
#include "model/language_model.h"
#include "model/nn/storage.h"

namespace peerage::nn {

// Keys and values of every layer, in blocks of 32 positions (kernels/attention.h has the layout of
// one). A block id means the same positions in every layer; memory is touched when it is written.
class KvCache {
 public:
  struct Size {
    kernels::AttentionShape shape;
    int num_layers = 0;
    int num_blocks = 0;
  };
  static absl::StatusOr<KvCache> Make(const Size& size);

  // Bytes of one block over all layers.
  static size_t BlockBytes(const kernels::AttentionShape& shape, int num_layers) {
    return kernels::KvBlockFloats(shape) * sizeof(float) * num_layers;
  }

  float* layer(int index) const { return storage_.floats() + index * layer_floats(); }
  float* block(int layer_index, BlockId id) const {
    return layer(layer_index) + id * kernels::KvBlockFloats(size_.shape);
  }

  // Copies whole blocks, in every layer.
  void Copy(absl::Span<const BlockCopy> copies) const;

 private:
  KvCache(const Size& size, Storage storage) : size_(size), storage_(std::move(storage)) {}
  size_t layer_floats() const { return kernels::KvBlockFloats(size_.shape) * size_.num_blocks; }

  Size size_;
  Storage storage_;
};

}  // namespace peerage::nn
