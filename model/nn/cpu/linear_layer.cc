#include "model/nn/cpu/linear_layer.h"

#include <algorithm>

namespace peerage::nn::cpu {
namespace {

using kernels::PackedMatrix;

// Enough pieces that a core taken away costs its share, few enough that claiming is free.
int TileGrain(int64_t tiles, int threads) {
  return static_cast<int>(std::max<int64_t>(1, tiles / threads / 4));
}

kernels::LinearArgs ArgsOf(const PackedMatrix& part, const Activations& input,
                           const LinearLayer::Output& output) {
  return {.weights = part,
          .x = input.x,
          .x_stride = input.stride,
          .panels = input.panels,
          .tokens = input.tokens,
          .y = output.y,
          .y_stride = output.stride,
          .epilogue = output.epilogue};
}

// Tiles [first, end) of a layer, counted over its parts.
void ForwardTiles(const LinearGroup& group, int first, int end) {
  LinearLayer::Output output = group.output;
  for (const PackedMatrix& part : group.layer->parts) {
    const int tiles = part.num_tiles();
    if (first < tiles && end > 0) {
      kernels::Linear(ArgsOf(part, group.input, output), std::max(first, 0), std::min(end, tiles));
    }
    first -= tiles;
    end -= tiles;
    output.y += part.outputs;
  }
}

}  // namespace

int LinearLayer::outputs() const {
  int total = 0;
  for (const PackedMatrix& part : parts) total += part.outputs;
  return total;
}

int LinearLayer::num_tiles() const {
  int tiles = 0;
  for (const PackedMatrix& part : parts) tiles += part.num_tiles();
  return tiles;
}

bool LinearLayer::quantized() const {
  return std::any_of(parts.begin(), parts.end(),
                     [](const PackedMatrix& part) { return kernels::IsQuantized(part.format); });
}

void LinearLayer::Prepare(const Activations& input, RowRange rows) const {
  if (!quantized()) return;
  kernels::Quantize({.x = input.x,
                     .stride = input.stride,
                     .tokens = input.tokens,
                     .depth = depth(),
                     .panels = input.panels},
                    rows.first, rows.end);
}

void LinearLayer::Forward(kernels::ThreadPool& pool, const Activations& input,
                          const Output& output) const {
  Output part_output = output;
  for (size_t i = 0; i < parts.size(); ++i) {
    const PackedMatrix& part = parts[i];
    kernels::LinearArgs args = ArgsOf(part, input, part_output);
    args.next = i + 1 < parts.size() ? parts[i + 1].tiles : next;
    pool.For(part.num_tiles(), TileGrain(part.num_tiles(), pool.threads()),
             [&](int64_t first, int64_t end, int) {
               kernels::Linear(args, static_cast<int>(first), static_cast<int>(end));
             });
    part_output.y += part.outputs;
  }
}

void LinearLayer::PrepareAndForward(kernels::ThreadPool& pool, const Activations& input,
                                    const Output& output) const {
  if (quantized()) {
    ForRows(pool, input.tokens, [&](RowRange rows) { Prepare(input, rows); });
  }
  Forward(pool, input, output);
}

void ForwardGroups(kernels::ThreadPool& pool, absl::Span<const LinearGroup> groups) {
  int64_t tiles = 0;
  for (const LinearGroup& group : groups) tiles += group.layer->num_tiles();
  pool.For(tiles, TileGrain(tiles, pool.threads()), [&](int64_t begin, int64_t end, int) {
    for (const LinearGroup& group : groups) {
      const int64_t count = group.layer->num_tiles();
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, count);
      if (first < last) ForwardTiles(group, static_cast<int>(first), static_cast<int>(last));
      begin -= count;
      end -= count;
    }
  });
}

void PrepareGroups(absl::Span<const LinearGroup> groups, RowRange rows) {
  for (const LinearGroup& group : groups) {
    const int count = group.input.tokens;
    const RowRange own{std::max(rows.first, 0), std::min(rows.end, count)};
    if (own.first < own.end) group.layer->Prepare(group.input, own);
    rows.first -= count;
    rows.end -= count;
  }
}

}  // namespace peerage::nn::cpu
