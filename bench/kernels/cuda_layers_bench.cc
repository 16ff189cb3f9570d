// Layers around attention and experts: embedding, norm, products of matrices, a mixture's FFNs.
#include <algorithm>

#include "bench/kernels/cuda_bench.h"
#include "model/kernels/embedding_cuda.h"
#include "model/kernels/gated_activation_cuda.h"
#include "model/kernels/linear_cuda.h"
#include "model/kernels/norm_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kMixtureTopK = 2;

Measurement EmbedTokens(CudaBench& bench, int rows) {
  const auto width = static_cast<size_t>(bench.shapes.width);
  const DeviceBuffer table = bench.Halves(bench.shapes.vocabulary * width);
  const DeviceBuffer tokens =
      DeviceBuffer::Of(bench.Ids(size_t(rows) * bench.timer.calls(), bench.shapes.vocabulary));
  const DeviceBuffer x(rows * width * sizeof(float));
  const double time = bench.timer.Microseconds([&](int call, cudaStream_t stream) {
    return Embed({.table = table.As(),
                  .tokens = tokens.As<int32_t>() + size_t(call) * rows,
                  .x = x.As<float>(),
                  .count = rows,
                  .width = bench.shapes.width},
                 stream);
  });
  return {.kernel = "embedding",
          .rows = rows,
          .microseconds = time,
          .bytes = double(rows * width * sizeof(uint16_t) + x.bytes())};
}

Measurement Normalize(CudaBench& bench, int rows) {
  const auto width = static_cast<size_t>(bench.shapes.width);
  const DeviceBuffer x = bench.Floats(rows * width), weight = bench.Floats(width);
  const DeviceBuffer y(rows * width * sizeof(uint16_t));
  const double time = bench.timer.Microseconds([&](int, cudaStream_t stream) {
    return Norm({.x = x.As(),
                 .x_stride = width,
                 .weight = weight.As<float>(),
                 .y = y.As(),
                 .y_stride = width,
                 .count = rows,
                 .width = bench.shapes.width},
                stream);
  });
  return {
      .kernel = "norm", .rows = rows, .microseconds = time, .bytes = double(x.bytes() + y.bytes())};
}

// Heads of experts leave a part each of what is added to the residual stream.
Measurement AddHeadsAndNormalize(CudaBench& bench, int rows) {
  const auto width = static_cast<size_t>(bench.shapes.width);
  const int heads = bench.shapes.heads;
  const size_t elements = rows * width;
  const DeviceBuffer sums = bench.Floats(elements * heads), x = bench.Floats(elements);
  const DeviceBuffer weight = bench.Floats(width), y(elements * sizeof(uint16_t));
  const RowParts added{
      .parts = sums.As<float>(), .part_stride = width, .row_stride = heads * width, .count = heads};
  const NormArgs args{.x = x.As(),
                      .x_stride = width,
                      .weight = weight.As<float>(),
                      .y = y.As(),
                      .y_stride = width,
                      .sums = x.As<float>(),
                      .count = rows,
                      .width = bench.shapes.width};
  const double time = bench.timer.Microseconds(
      [&](int, cudaStream_t stream) { return NormOfSum(args, added, stream); });
  return {.kernel = "norm of the sum of heads",
          .rows = rows,
          .microseconds = time,
          .bytes = double(sums.bytes() + 2 * x.bytes() + y.bytes())};
}

Measurement MultiplyRows(CudaBench& bench, const char* name, int rows, int outputs) {
  const LinearShape shape{.outputs = outputs, .depth = bench.shapes.width};
  const size_t elements = size_t(outputs) * shape.depth;
  const size_t copies = std::max<size_t>(1, bench.cold_bytes() / (2 * elements));
  const DeviceBuffer w = bench.Halves(copies * elements);
  const DeviceBuffer x = bench.Halves(size_t(rows) * shape.depth);
  const DeviceBuffer y(size_t(rows) * outputs * sizeof(float));
  const DeviceBuffer scratch = Scratch(sizeof(float) * LinearScratchFloats(shape, rows));
  const double time = bench.timer.Microseconds([&](int call, cudaStream_t stream) {
    return Linear({.shape = shape,
                   .w = w.As<uint16_t>() + call % copies * elements,
                   .x = x.As(),
                   .x_stride = size_t(shape.depth),
                   .y = y.As<float>(),
                   .y_stride = size_t(outputs),
                   .rows = rows,
                   .scratch = scratch.As<float>()},
                  stream);
  });
  return {.kernel = name,
          .rows = rows,
          .microseconds = time,
          .bytes = double(2 * elements + x.bytes() + y.bytes()),
          .flops = 2.0 * rows * elements};
}

// Rows of each expert in one call: where they begin, and how many experts have any.
struct Groups {
  std::vector<int32_t> first_row;
  int active = 0;
};

// Every row chooses two experts.
Groups ChooseGroups(CudaBench& bench, int rows) {
  const auto experts = static_cast<uint32_t>(bench.shapes.mixture);
  std::vector<int32_t> rows_of(experts);
  for (int row = 0; row < rows; ++row) {
    const auto first = static_cast<uint32_t>(bench.Random() % experts);
    ++rows_of[first];
    ++rows_of[(first + 1 + bench.Random() % (experts - 1)) % experts];
  }
  Groups groups{.first_row = {0}};
  for (const int32_t count : rows_of) {
    groups.first_row.push_back(groups.first_row.back() + count);
    groups.active += count > 0;
  }
  return groups;
}

// Gates and ups of the experts that were chosen; calls differ in which.
Measurement MultiplyGroups(CudaBench& bench, int rows) {
  const int experts = bench.shapes.mixture, picks = rows * kMixtureTopK;
  const LinearShape shape{.outputs = 2 * bench.shapes.intermediate(), .depth = bench.shapes.width};
  const size_t elements = size_t(shape.outputs) * shape.depth;
  const DeviceBuffer w = bench.Halves(experts * elements);
  std::vector<const void*> matrices;
  for (int e = 0; e < experts; ++e) matrices.push_back(w.As<uint16_t>() + e * elements);
  std::vector<int32_t> first_rows;
  double active = 0;
  for (int call = 0; call < bench.timer.calls(); ++call) {
    const Groups groups = ChooseGroups(bench, rows);
    first_rows.insert(first_rows.end(), groups.first_row.begin(), groups.first_row.end());
    active += double(groups.active) / bench.timer.calls();
  }
  const DeviceBuffer group_w = DeviceBuffer::Of(matrices), firsts = DeviceBuffer::Of(first_rows);
  const DeviceBuffer x = bench.Halves(size_t(picks) * shape.depth);
  const DeviceBuffer y(size_t(picks) * shape.outputs * sizeof(float));
  const DeviceBuffer scratch = Scratch(sizeof(float) * LinearScratchFloats(shape, picks));
  const double time = bench.timer.Microseconds([&](int call, cudaStream_t stream) {
    return GroupedLinear({.shape = shape,
                          .w = group_w.As<const void*>(),
                          .x = x.As(),
                          .x_stride = size_t(shape.depth),
                          .y = y.As<float>(),
                          .y_stride = size_t(shape.outputs),
                          .first_row = firsts.As<int32_t>() + size_t(call) * (experts + 1),
                          .groups = experts,
                          .max_rows = picks,
                          .scratch = scratch.As<float>()},
                         stream);
  });
  return {.kernel = "linear of a mixture",
          .rows = rows,
          .microseconds = time,
          .bytes = 2 * active * elements + x.bytes() + y.bytes(),
          .flops = 2.0 * picks * elements};
}

Measurement Gate(CudaBench& bench, int rows) {
  const auto width = static_cast<size_t>(bench.shapes.intermediate());
  const DeviceBuffer gate_up = bench.Floats(2 * rows * width), y(rows * width * sizeof(uint16_t));
  const double time = bench.timer.Microseconds([&](int, cudaStream_t stream) {
    return GatedActivation({.gate_up = gate_up.As<float>(),
                            .y = y.As(),
                            .rows = rows,
                            .width = static_cast<int>(width)},
                           stream);
  });
  return {.kernel = "gated activation",
          .rows = rows,
          .microseconds = time,
          .bytes = double(gate_up.bytes() + y.bytes())};
}

}  // namespace

void MeasureLayers(CudaBench& bench, int rows, Measurements& all) {
  all.push_back(EmbedTokens(bench, rows));
  all.push_back(Normalize(bench, rows));
  all.push_back(AddHeadsAndNormalize(bench, rows));
  all.push_back(MultiplyRows(bench, "linear", rows, bench.shapes.width));
  all.push_back(MultiplyRows(bench, "linear of the head", rows, bench.shapes.vocabulary));
  all.push_back(MultiplyGroups(bench, rows));
  all.push_back(Gate(bench, rows));
}

}  // namespace peerage::kernels::cuda
