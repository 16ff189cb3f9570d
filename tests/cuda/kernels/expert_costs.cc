// Experts that were chosen: one-neuron ones of every format and kind, and those of mixtures.
#include "model/kernels/expert_counting_cuda.h"
#include "model/kernels/experts_cuda.h"
#include "model/kernels/mixture_cuda.h"
#include "tests/cuda/kernels/cost_meter.h"

namespace peerage::kernels::cuda {
namespace {

void MeasureTable(CostMeter& meter, const std::string& name, ExpertFormat format, ExpertKind kind) {
  constexpr int kRows = 2, kHeads = 8, kTopK = 16, kWidth = 1024;
  ExpertTable table{.format = format, .kind = kind, .width = kWidth, .num_experts = 1024};
  const DeviceFloats records = meter.Random(DeviceFloat::kBF16, table.Bytes() / 2);
  table.records = records.data();
  const DeviceArray<uint32_t> ids(meter.RandomIds(kRows * kHeads * kTopK, 1024));
  const DeviceFloats weights = meter.Random(DeviceFloat::kF32, ids.size());
  const DeviceFloats x = meter.Random(DeviceFloat::kBF16, kRows * kWidth);
  const DeviceFloats partials = meter.Zeros(kRows * kHeads * kWidth);
  meter.Measure(name, {"ExpertKernel"}, [&](cudaStream_t stream) {
    return RunExperts({.table = table,
                       .heads = kHeads,
                       .top_k = kTopK,
                       .x = x.data(),
                       .x_stride = kWidth,
                       .ids = ids.data(),
                       .weights = F32(weights),
                       .partials = F32(partials),
                       .count = kRows},
                      stream);
  });
}

}  // namespace

void MeasureExperts(CostMeter& meter) {
  MeasureTable(meter, "experts", ExpertFormat::kBF16, ExpertKind::kNeuron);
  MeasureTable(meter, "experts_f32", ExpertFormat::kF32, ExpertKind::kNeuron);
  MeasureTable(meter, "experts_int8", ExpertFormat::kInt8, ExpertKind::kNeuron);
  MeasureTable(meter, "experts_int4", ExpertFormat::kInt4, ExpertKind::kNeuron);
  MeasureTable(meter, "experts_fp8", ExpertFormat::kFp8, ExpertKind::kNeuron);
  MeasureTable(meter, "experts_gated", ExpertFormat::kBF16, ExpertKind::kGatedNeuron);
  MeasureTable(meter, "experts_values", ExpertFormat::kBF16, ExpertKind::kValue);
}

// What 16 tokens ask of 8 experts, two each, before and after those compute.
void MeasureMixture(CostMeter& meter) {
  constexpr int kRows = 16, kTopK = 2, kExperts = 8, kHeads = 16, kWidth = 2048;
  const DeviceArray<uint32_t> ids(meter.RandomIds(kRows * kTopK, kExperts));
  const DeviceFloats weights = meter.Random(DeviceFloat::kF32, kRows * kTopK);
  std::vector<int32_t> rows(kRows * kTopK), experts(kHeads);
  for (int i = 0; i < kRows * kTopK; ++i) rows[i] = kRows * kTopK - 1 - i;
  for (int i = 0; i < kHeads; ++i) experts[i] = i % kExperts;
  const DeviceArray<int32_t> row_of_pick(rows), expert_of_head(experts), positions(kRows);
  const DeviceFloats u = meter.Random(DeviceFloat::kBF16, kRows * kWidth);
  const DeviceFloats gathered(DeviceFloat::kBF16, kRows * kTopK * kWidth, 0);
  meter.Measure("gather_rows", {"GatherRowsKernel"}, [&](cudaStream_t stream) {
    return GatherRows({.u = u.data(),
                       .row_of_pick = row_of_pick.data(),
                       .top_k = kTopK,
                       .gathered = gathered.data(),
                       .count = kRows,
                       .width = kWidth},
                      stream);
  });
  const DeviceFloats head_gates = meter.Zeros(kRows * kHeads);
  meter.Measure("spread_gates", {"SpreadGatesKernel"}, [&](cudaStream_t stream) {
    return SpreadGates({.ids = ids.data(),
                        .weights = F32(weights),
                        .top_k = kTopK,
                        .expert_of_head = expert_of_head.data(),
                        .heads = kHeads,
                        .head_gates = F32(head_gates),
                        .count = kRows},
                       stream);
  });
  const DeviceFloats gates(DeviceFloat::kF32, kRows * kExperts, 1.0f / kExperts);
  const DeviceFloats kept = meter.Zeros(kRows * kExperts);
  meter.Measure("keep_rows", {"KeepRowsKernel"}, [&](cudaStream_t stream) {
    return KeepRows({.from = F32(gates),
                     .from_stride = kExperts,
                     .to = F32(kept),
                     .to_stride = kExperts,
                     .width = kExperts,
                     .count = kRows},
                    stream);
  });
  const DeviceArray<DeviceTotals> totals(1);
  meter.Measure("observe_gates", {"GateFiguresKernel"}, [&](cudaStream_t stream) {
    return ObserveGates({.gates = F32(gates),
                         .stride = kExperts,
                         .experts = kExperts,
                         .ids = ids.data(),
                         .top_k = kTopK,
                         .positions = positions.data(),
                         .count = kRows,
                         .totals = totals.data()},
                        stream);
  });
}

}  // namespace peerage::kernels::cuda
