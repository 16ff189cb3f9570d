// What lies between attention and experts, and the output head: width 2048, vocabulary 49,152.
#include "model/kernels/embedding_cuda.h"
#include "model/kernels/linear_cuda.h"
#include "model/kernels/norm_cuda.h"
#include "model/kernels/output_head_cuda.h"
#include "tests/cuda/kernels/cost_meter.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kWidth = 2048;

void MeasureEmbedding(CostMeter& meter) {
  constexpr int kRows = 4, kTokens = 32;
  const DeviceFloats table = meter.Random(DeviceFloat::kBF16, kTokens * kWidth);
  const DeviceArray<int32_t> tokens(std::vector<int32_t>{31, 7, 0, 7});
  const DeviceFloats x = meter.Zeros(kRows * kWidth);
  meter.Measure("embed", {"EmbedKernel"}, [&](cudaStream_t stream) {
    return Embed({.table = table.data(),
                  .tokens = tokens.data(),
                  .x = F32(x),
                  .count = kRows,
                  .width = kWidth},
                 stream);
  });
}

void MeasureLinear(CostMeter& meter, int rows) {
  const LinearShape shape{.outputs = 1024, .depth = kWidth};
  const DeviceFloats w = meter.Random(DeviceFloat::kBF16, size_t(shape.outputs) * shape.depth);
  const DeviceFloats x = meter.Random(DeviceFloat::kBF16, size_t(rows) * shape.depth);
  const DeviceFloats y = meter.Zeros(size_t(rows) * shape.outputs);
  const DeviceFloats scratch = meter.Zeros(LinearScratchFloats(shape, rows));
  meter.Measure("linear_" + std::to_string(rows), {"LinearOnTensorCoresKernel"},
                [&](cudaStream_t stream) {
                  return Linear({.shape = shape,
                                 .w = w.data(),
                                 .x = x.data(),
                                 .x_stride = size_t(shape.depth),
                                 .y = F32(y),
                                 .y_stride = size_t(shape.outputs),
                                 .rows = rows,
                                 .scratch = F32(scratch)},
                                stream);
                });
}

void MeasureNorm(CostMeter& meter) {
  constexpr int kRows = 4, kParts = 8;
  const DeviceFloats x = meter.Random(DeviceFloat::kF32, kRows * kWidth);
  const DeviceFloats weight = meter.Random(DeviceFloat::kF32, kWidth);
  const DeviceFloats y(DeviceFloat::kBF16, kRows * kWidth, 0);
  meter.Measure("norm", {"NormKernel"}, [&](cudaStream_t stream) {
    return Norm({.x = x.data(),
                 .x_stride = kWidth,
                 .weight = F32(weight),
                 .y = y.data(),
                 .y_stride = kWidth,
                 .count = kRows,
                 .width = kWidth},
                stream);
  });
  const DeviceFloats parts = meter.Random(DeviceFloat::kF32, kRows * kParts * kWidth);
  const RowParts added{
      .parts = F32(parts), .part_stride = kWidth, .row_stride = kParts * kWidth, .count = kParts};
  meter.Measure("add", {"AddRowsKernel"}, [&](cudaStream_t stream) {
    return AddRows({.x = F32(x), .count = kRows, .width = kWidth}, added, stream);
  });
  meter.Measure("add_and_norm", {"NormKernel"}, [&](cudaStream_t stream) {
    return NormOfSum({.x = x.data(),
                      .x_stride = kWidth,
                      .weight = F32(weight),
                      .y = y.data(),
                      .y_stride = kWidth,
                      .sums = F32(x),
                      .count = kRows,
                      .width = kWidth},
                     added, stream);
  });
}

void MeasureReport(CostMeter& meter, const std::string& name,
                   const std::vector<std::string>& kernels, RowRequest request) {
  constexpr int kVocabulary = 49'152;
  request.token_row = 0;
  request.sample = request.scores = 1;
  request.random = 0x0123456789abcdef;
  const DeviceFloats logits = meter.Random(DeviceFloat::kF32, kVocabulary);
  const DeviceArray<RowRequest> requests({request});
  const DeviceArray<DeviceScore> scores(1);
  const DeviceArray<DeviceAlternative> alternatives(kMostAlternatives);
  const DeviceArray<int32_t> failed(1);
  const DeviceArray<uint8_t> scratch(ReportScratchBytes(kVocabulary, 1));
  meter.Measure(name, kernels, [&](cudaStream_t stream) {
    return ReportRows({.logits = F32(logits),
                       .vocabulary = kVocabulary,
                       .requests = requests.data(),
                       .count = 1,
                       .scores = scores.data(),
                       .alternatives = alternatives.data(),
                       .failed = failed.data(),
                       .scratch = scratch.data()},
                      stream);
  });
}

}  // namespace

void MeasureLayers(CostMeter& meter) {
  MeasureEmbedding(meter);
  MeasureLinear(meter, 1);
  MeasureLinear(meter, 16);
  MeasureLinear(meter, 64);
  MeasureNorm(meter);
}

void MeasureHead(CostMeter& meter) {
  MeasureReport(meter, "head_greedy", {"ScanKernel", "FinishKernel"}, {.temperature = 0});
  MeasureReport(meter, "head_top_p",
                {"ScanKernel", "WeighKernel", "GatherKernel", "FinishKernel", "RankKernel"},
                {.alternatives = 5, .temperature = 1, .top_p = 0.95f});
}

}  // namespace peerage::kernels::cuda
