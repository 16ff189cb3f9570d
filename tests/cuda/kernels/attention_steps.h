// Sequences in a paged cache and steps over them, for tests of attention on a device.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "model/kernels/attention_cuda.h"
#include "tests/cuda/support/device_array.h"

namespace peerage::kernels::cuda {

float RoundToBf16(float x);

// Rows [first, first + tokens) of a sequence, in items of at most `item_tokens`. A sequence of -1
// is padding: one row and one item that nobody owns.
struct StepChunk {
  int sequence = 0, first = 0, tokens = 1, item_tokens = kAttentionItemTokens;
};

struct StepOptions {
  bool split = false;
  DeviceFloat out_type = DeviceFloat::kF32;
  std::vector<float> gates;  // [rows][heads], or empty
};

// The queries, keys and values of some sequences, all known. What the cache holds beside them is
// NaN, and what block tables hold beside their blocks is no block.
class AttentionSequences {
 public:
  AttentionSequences(const AttentionShape& shape, DeviceFloat type, std::vector<int> lengths);

  // [tokens][heads or kv_heads][head_dim] of each sequence. Store() brings
  // changes of keys and values to the device.
  std::vector<std::vector<float>> q, k, v;

  const AttentionShape& shape() const { return shape_; }
  int width() const { return shape_.heads * shape_.head_dim; }
  int kv_width() const { return shape_.kv_heads * shape_.head_dim; }
  int length(int sequence) const { return lengths_[sequence]; }
  void Store();
  AttentionSequences Copy() const;

  // Output of the rows of all chunks, one after the other; padding stays kUntouched.
  std::vector<float> Run(const std::vector<StepChunk>& chunks, cudaStream_t stream,
                         const StepOptions& options = {}) const;

  // One row in double from what the device has been told, and how far a right kernel may be off.
  struct Expected {
    std::vector<float> values, tolerance;  // [heads * head_dim]
  };
  Expected Expect(int sequence, int position) const;

  static constexpr float kUntouched = -7;

 private:
  bool HasTiles() const;
  std::vector<float> Reference(int sequence, int position, bool magnitudes) const;

  AttentionShape shape_;
  DeviceFloat type_;
  std::vector<int> lengths_;
  std::vector<std::vector<int32_t>> blocks_;
  int num_blocks_ = 0, max_blocks_ = 0;
  std::vector<DeviceArray<uint8_t>> cache_;  // one, once stored
};

std::string Describe(const AttentionShape& shape, DeviceFloat type);

}  // namespace peerage::kernels::cuda
