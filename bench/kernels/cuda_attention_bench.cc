// Attention over a paged cache, and what brings keys and values there.
#include <algorithm>

#include "bench/kernels/cuda_bench.h"
#include "model/kernels/attention_cuda.h"

namespace peerage::kernels::cuda {
namespace {

AttentionShape ShapeOf(const BenchShapes& shapes) {
  return {.heads = shapes.attention_heads,
          .kv_heads = shapes.kv_heads,
          .head_dim = shapes.head_dim,
          .scale = 0.1f};
}

// Every token at the end of a context of its own.
Measurement RotateAndStoreRows(CudaBench& bench, int rows) {
  const AttentionShape shape = ShapeOf(bench.shapes);
  const size_t block = KvBlockElements(shape);
  const size_t turned = size_t(rows) * (shape.heads + shape.kv_heads) * shape.head_dim;
  const size_t stored = size_t{2} * rows * shape.kv_heads * shape.head_dim;
  std::vector<int32_t> blocks_of_rows(rows);
  for (int row = 0; row < rows; ++row) blocks_of_rows[row] = row;
  const DeviceBuffer positions =
      DeviceBuffer::Of(std::vector<int32_t>(rows, bench.shapes.context - 1));
  const DeviceBuffer blocks = DeviceBuffer::Of(blocks_of_rows), kv = bench.Halves(rows * block);
  const DeviceBuffer qkv = bench.Floats(turned + stored / 2);
  const DeviceBuffer angles = bench.Floats(size_t(bench.shapes.context) * shape.head_dim);
  const double time = bench.timer.Microseconds([&](int, cudaStream_t stream) {
    return RotateAndStore({.shape = shape,
                           .angles = angles.As<float>(),
                           .qkv = qkv.As<float>(),
                           .cache = {.kv = kv.As(), .block_stride = block},
                           .positions = positions.As<int32_t>(),
                           .blocks = blocks.As<int32_t>(),
                           .count = rows},
                          stream);
  });
  const size_t queries = size_t(rows) * shape.heads * shape.head_dim * sizeof(float);
  return {.kernel = "rotary and store",
          .rows = rows,
          .microseconds = time,
          .bytes = double(qkv.bytes() + queries + stored * sizeof(uint16_t))};
}

struct Step {
  std::vector<AttentionItem> items;
  int rows = 0;
  int sequences = 0;
  int splits = 0;
};

Measurement Attend(CudaBench& bench, const char* name, const Step& step) {
  const AttentionShape shape = ShapeOf(bench.shapes);
  const int context = bench.shapes.context;
  const size_t block = KvBlockElements(shape), width = size_t(shape.heads) * shape.head_dim;
  const size_t blocks_each = (context + kBlockTokens - 1) / kBlockTokens;
  const size_t step_blocks = step.sequences * blocks_each;
  const size_t blocks = std::max(step_blocks, bench.cold_bytes() / (block * sizeof(uint16_t)));
  std::vector<int32_t> tables(step_blocks * bench.timer.calls());
  for (size_t i = 0; i < tables.size(); ++i) tables[i] = static_cast<int32_t>(i % blocks);
  const DeviceBuffer kv = bench.Halves(blocks * block), q = bench.Floats(step.rows * width);
  const DeviceBuffer out(step.rows * width * sizeof(uint16_t));
  const DeviceBuffer table = DeviceBuffer::Of(tables), items = DeviceBuffer::Of(step.items);
  const DeviceBuffer partials =
      Scratch(sizeof(float) * AttentionPartialFloats(shape, step.rows, step.splits));
  const double time = bench.timer.Microseconds([&](int call, cudaStream_t stream) {
    return Attention({.shape = shape,
                      .q = q.As<float>(),
                      .q_stride = width,
                      .cache = {.kv = kv.As(), .block_stride = block},
                      .block_table = table.As<int32_t>() + call * step_blocks,
                      .max_blocks = static_cast<int>(blocks_each),
                      .items = items.As<AttentionItem>(),
                      .num_items = static_cast<int>(step.items.size()),
                      .out = out.As(),
                      .splits = step.splits,
                      .count = step.rows,
                      .partials = partials.As<float>()},
                     stream);
  });
  const double cache_bytes = double(step.sequences) * context * block / kBlockTokens * 2;
  return {.kernel = name,
          .rows = step.rows,
          .microseconds = time,
          .bytes = cache_bytes + q.bytes() + out.bytes()};
}

}  // namespace

// One token of each of so many sequences at the end of the context.
void MeasureAttention(CudaBench& bench, int rows, Measurements& all) {
  const int context = bench.shapes.context;
  Step step{.rows = rows, .sequences = rows, .splits = (context + kSplitTokens - 1) / kSplitTokens};
  for (int i = 0; i < rows; ++i) {
    step.items.push_back({.token = i, .tokens = 1, .position = context - 1, .sequence = i});
  }
  all.push_back(RotateAndStoreRows(bench, rows));
  all.push_back(Attend(bench, "attention, decode", step));
}

// The whole context of one sequence.
void MeasurePrefill(CudaBench& bench, Measurements& all) {
  const int context = bench.shapes.context;
  Step step{.rows = context, .sequences = 1};
  for (int first = 0; first < context; first += kAttentionItemTokens) {
    step.items.push_back({.token = first,
                          .tokens = std::min(kAttentionItemTokens, context - first),
                          .position = first});
  }
  Measurement m = Attend(bench, "attention, prefill", step);
  const double pairs = 0.5 * context * (context + 1.0);
  m.flops = 4 * pairs * bench.shapes.attention_heads * bench.shapes.head_dim;
  all.push_back(m);
}

}  // namespace peerage::kernels::cuda
