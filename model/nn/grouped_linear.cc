#include "model/nn/grouped_linear.h"

#include <algorithm>

namespace peerage::nn {
namespace {

int NumTiles(const LinearLayer& layer) {
  int tiles = 0;
  for (const kernels::PackedMatrix& part : layer.parts) tiles += part.num_tiles();
  return tiles;
}

// Tiles [first, end) of a layer, counted over its parts.
void ForwardTiles(const LinearGroup& group, int first, int end) {
  float* y = group.output.y;
  for (const kernels::PackedMatrix& part : group.layer->parts) {
    const int tiles = part.num_tiles();
    if (first < tiles && end > 0) {
      kernels::Linear({.weights = part,
                       .x = group.input.x,
                       .x_stride = group.input.stride,
                       .panels = group.input.panels,
                       .tokens = group.input.tokens,
                       .y = y,
                       .y_stride = group.output.stride,
                       .epilogue = group.output.epilogue},
                      std::max(first, 0), std::min(end, tiles));
    }
    first -= tiles;
    end -= tiles;
    y += part.outputs;
  }
}

}  // namespace

void ForwardGroups(kernels::ThreadPool& pool, absl::Span<const LinearGroup> groups) {
  int64_t tiles = 0;
  for (const LinearGroup& group : groups) tiles += NumTiles(*group.layer);
  const int64_t grain = std::max<int64_t>(1, tiles / (pool.threads() * 4));
  pool.For(tiles, grain, [&](int64_t begin, int64_t end, int) {
    for (const LinearGroup& group : groups) {
      const int64_t count = NumTiles(*group.layer);
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, count);
      if (first < last) ForwardTiles(group, static_cast<int>(first), static_cast<int>(last));
      begin -= count;
      end -= count;
    }
  });
}

void PrepareGroups(absl::Span<const LinearGroup> groups, int64_t first, int64_t end) {
  for (const LinearGroup& group : groups) {
    const int64_t rows = group.input.tokens;
    const int64_t from = std::max<int64_t>(first, 0), to = std::min(end, rows);
    if (from < to) {
      group.layer->PrepareInput(group.input, static_cast<int>(from), static_cast<int>(to));
    }
    first -= rows;
    end -= rows;
  }
}

}  // namespace peerage::nn
