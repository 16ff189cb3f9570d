#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/kernels/linear.h"
#include "model/kernels/thread_pool.h"

namespace peerage::nn {

// The rows that a step feeds into linear layers. `panels` holds them quantised when the layers'
// weights are (kernels/linear.h).
struct Activations {
  const float* x = nullptr;  // [tokens][stride]
  size_t stride = 0;
  uint8_t* panels = nullptr;
  int tokens = 0;
};

// One or more matrices that read the same input, side by side: y = concat(W_0 x, W_1 x, ...).
// Parts differ only in their storage format; of one format there is one part.
struct LinearLayer {
  std::vector<kernels::PackedMatrix> parts;
  const uint8_t* next = nullptr;  // what a step reads after these weights: fetched ahead

  int outputs() const;
  int depth() const { return parts.front().depth; }
  bool quantized() const;  // some part wants panels

  // Quantises rows [first, end) of the input, if a part wants it; a thread's share.
  void PrepareInput(const Activations& input, int first, int end) const;

  struct Output {
    float* y = nullptr;  // [tokens][stride]
    size_t stride = 0;
    kernels::Epilogue epilogue = kernels::Epilogue::kStore;
  };
  // Precondition: every row was prepared.
  void Forward(kernels::ThreadPool& pool, const Activations& input, const Output& output) const;
};

// Rows that one thread prepares at a time: the tokens of one panel.
inline constexpr int kRowGrain = 8;

}  // namespace peerage::nn
