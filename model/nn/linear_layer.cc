#include "model/nn/linear_layer.h"

#include <algorithm>

namespace peerage::nn {
namespace {

using kernels::PackedMatrix;

// Enough pieces that a core taken away costs its share, few enough that claiming is free.
int TileGrain(const PackedMatrix& matrix, int threads) {
  return std::max(1, matrix.num_tiles() / (threads * 4));
}

}  // namespace

int LinearLayer::outputs() const {
  int total = 0;
  for (const PackedMatrix& part : parts) total += part.outputs;
  return total;
}

bool LinearLayer::quantized() const {
  return std::any_of(parts.begin(), parts.end(),
                     [](const PackedMatrix& part) { return kernels::IsQuantized(part.format); });
}

void LinearLayer::PrepareInput(const Activations& input, int first, int end) const {
  if (!quantized()) return;
  kernels::Quantize({.x = input.x,
                     .stride = input.stride,
                     .tokens = input.tokens,
                     .depth = depth(),
                     .panels = input.panels},
                    first, end);
}

void LinearLayer::Forward(kernels::ThreadPool& pool, const Activations& input,
                          const Output& output) const {
  float* y = output.y;
  for (size_t i = 0; i < parts.size(); ++i) {
    const PackedMatrix& part = parts[i];
    const kernels::LinearArgs args{.weights = part,
                                   .x = input.x,
                                   .x_stride = input.stride,
                                   .panels = input.panels,
                                   .tokens = input.tokens,
                                   .y = y,
                                   .y_stride = output.stride,
                                   .epilogue = output.epilogue,
                                   .next = i + 1 < parts.size() ? parts[i + 1].tiles : next};
    pool.For(part.num_tiles(), TileGrain(part, pool.threads()),
             [&](int64_t first, int64_t end, int) {
               kernels::Linear(args, static_cast<int>(first), static_cast<int>(end));
             });
    y += part.outputs;
  }
}

}  // namespace peerage::nn
