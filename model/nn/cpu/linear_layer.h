#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/kernels/linear.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/cpu/rows.h"

namespace peerage::nn::cpu {

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
  int num_tiles() const;
  bool quantized() const;  // some part wants panels

  // Quantises rows of the input, if a part wants it; a thread's share. Panels are shared by all
  // layers, so each layer has its input prepared, even when another has just read the same rows.
  void Prepare(const Activations& input, RowRange rows) const;

  struct Output {
    float* y = nullptr;  // [tokens][stride]
    size_t stride = 0;
    kernels::Epilogue epilogue = kernels::Epilogue::kStore;
  };
  // Precondition: every row was prepared.
  void Forward(kernels::ThreadPool& pool, const Activations& input, const Output& output) const;

  // Prepares all rows first.
  void PrepareAndForward(kernels::ThreadPool& pool, const Activations& input,
                         const Output& output) const;
};

// A linear layer and the rows that go through it.
struct LinearGroup {
  const LinearLayer* layer = nullptr;
  Activations input;
  LinearLayer::Output output;
};

// Several linear layers, each on rows of its own, as one loop over the tiles of all of them: every
// weight is read once, and the team is busy however unevenly the rows are divided. Each row's bits
// are those of LinearLayer::Forward.
void ForwardGroups(kernels::ThreadPool& pool, absl::Span<const LinearGroup> groups);

// LinearLayer::Prepare for rows counted over the rows of all groups: a thread's share.
void PrepareGroups(absl::Span<const LinearGroup> groups, RowRange rows);

}  // namespace peerage::nn::cpu
