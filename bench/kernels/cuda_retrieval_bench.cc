// Experts found by product keys: choosing them, running them, counting them.
#include <algorithm>

#include "bench/kernels/cuda_bench.h"
#include "model/kernels/expert_counting_cuda.h"
#include "model/kernels/experts_cuda.h"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {
namespace {

Measurement Select(CudaBench& bench, int rows) {
  const BenchShapes& shapes = bench.shapes;
  const ProductKeyShape shape{.heads = shapes.heads,
                              .top_k = shapes.top_k,
                              .num_sub_keys = 1 << (shapes.log2_experts / 2),
                              .half_width = shapes.key_dim / 2,
                              .sets = 2};
  const size_t picks = size_t(rows) * shape.heads * shape.top_k;
  const DeviceBuffer queries = bench.Floats(size_t(rows) * shape.heads * shapes.key_dim);
  const DeviceBuffer keys = bench.Halves(size_t{2} * shape.num_sub_keys * shape.half_width);
  const DeviceBuffer positions = Zeros(rows * sizeof(int32_t)), ids(4 * picks), weights(4 * picks);
  const DeviceBuffer scratch = Scratch(SelectScratchBytes(shape, rows));
  const SelectExpertsArgs args{.shape = shape,
                               .queries = queries.As<float>(),
                               .sub_keys = keys.As(),
                               .positions = positions.As<int32_t>(),
                               .ids = ids.As<uint32_t>(),
                               .weights = weights.As<float>(),
                               .count = rows,
                               .scratch = scratch.As<uint8_t>()};
  const double time = bench.timer.Microseconds(
      [&](int, cudaStream_t stream) { return SelectExperts(args, stream); });
  const double multiply_adds =
      double(rows) * shape.heads * 2 * shape.num_sub_keys * shape.half_width;
  return {.kernel = "select",
          .rows = rows,
          .microseconds = time,
          .bytes = double(queries.bytes() + keys.bytes() + 8 * picks),
          .flops = 2 * multiply_adds};
}

Measurement Experts(CudaBench& bench, const char* name, int rows, ExpertFormat format) {
  const BenchShapes& shapes = bench.shapes;
  ExpertTable table{
      .format = format, .width = shapes.width, .num_experts = int64_t{1} << shapes.log2_experts};
  const DeviceBuffer records = bench.Halves(table.Bytes() / sizeof(uint16_t));
  table.records = records.As<uint8_t>();
  const size_t picks = size_t(rows) * shapes.heads * shapes.top_k;
  const DeviceBuffer ids =
      DeviceBuffer::Of(bench.Ids(picks * bench.timer.calls(), table.num_experts));
  const DeviceBuffer weights = bench.Floats(picks);
  const DeviceBuffer x = bench.Halves(size_t(rows) * shapes.width);
  const DeviceBuffer partials(size_t(rows) * shapes.heads * shapes.width * sizeof(float));
  const double time = bench.timer.Microseconds([&](int call, cudaStream_t stream) {
    return RunExperts({.table = table,
                       .heads = shapes.heads,
                       .top_k = shapes.top_k,
                       .x = x.As(),
                       .x_stride = size_t(shapes.width),
                       .ids = ids.As<uint32_t>() + call * picks,
                       .weights = weights.As<float>(),
                       .partials = partials.As<float>(),
                       .count = rows},
                      stream);
  });
  return {.kernel = name,
          .rows = rows,
          .microseconds = time,
          .bytes = double(picks * table.RecordBytes() + x.bytes() + partials.bytes())};
}

// Each pick is read, and changes its expert's two sums and its last step.
Measurement Count(CudaBench& bench, int rows) {
  const BenchShapes& shapes = bench.shapes;
  const size_t experts = size_t{1} << shapes.log2_experts;
  const size_t picks = size_t(rows) * shapes.heads * shapes.top_k;
  const uint32_t sub_keys_of_head = 1u << (shapes.log2_experts / 2);
  const DeviceBuffer ids = DeviceBuffer::Of(bench.Ids(picks * bench.timer.calls(), experts));
  const DeviceBuffer weights = bench.Floats(picks), positions = Zeros(rows * sizeof(int32_t));
  const DeviceBuffer counts = Zeros(experts * sizeof(ExpertCount));
  const DeviceBuffer last_step = Zeros(experts * sizeof(uint32_t));
  const DeviceBuffer totals = Zeros(sizeof(DeviceTotals));
  const DeviceBuffer sub_keys =
      Zeros(size_t{2} * shapes.heads * sub_keys_of_head * sizeof(uint64_t));
  const double time = bench.timer.Microseconds([&](int call, cudaStream_t stream) {
    return CountExperts({.ids = ids.As<uint32_t>() + call * picks,
                         .weights = weights.As<float>(),
                         .positions = positions.As<int32_t>(),
                         .count = rows,
                         .heads = shapes.heads,
                         .top_k = shapes.top_k,
                         .counts = counts.As<ExpertCount>(),
                         .last_step = last_step.As<uint32_t>(),
                         .totals = totals.As<DeviceTotals>(),
                         .sub_keys = sub_keys.As<uint64_t>(),
                         .num_sub_keys = sub_keys_of_head,
                         .experts_of_set = static_cast<uint32_t>(experts)},
                        stream);
  });
  const size_t of_pick =
      sizeof(uint32_t) + sizeof(float) + 2 * (sizeof(ExpertCount) + sizeof(uint32_t));
  return {.kernel = "counting of experts",
          .rows = rows,
          .microseconds = time,
          .bytes = double(picks * of_pick)};
}

}  // namespace

void MeasureRetrieval(CudaBench& bench, int rows, Measurements& all) {
  all.push_back(Select(bench, rows));
  all.push_back(Experts(bench, "experts, bf16", rows, ExpertFormat::kBF16));
  all.push_back(Experts(bench, "experts, int8", rows, ExpertFormat::kInt8));
  all.push_back(Experts(bench, "experts, fp8", rows, ExpertFormat::kFp8));
  all.push_back(Experts(bench, "experts, int4", rows, ExpertFormat::kInt4));
  all.push_back(Count(bench, rows));
}

}  // namespace peerage::kernels::cuda
