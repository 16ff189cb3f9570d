// One million experts: 8 heads of each row choose 16 by 1,024 sub-keys a half.
#include <algorithm>
#include <cstring>

#include "model/kernels/controlled_picks_cuda.h"
#include "model/kernels/expert_counting_cuda.h"
#include "model/kernels/product_keys_cuda.h"
#include "tests/cuda/kernels/cost_meter.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kHeads = 8, kTopK = 16, kSubKeys = 1024, kHalfWidth = 128;
constexpr int64_t kPicks = kHeads * kTopK;  // of a token
constexpr uint32_t kExperts = kSubKeys * kSubKeys;

// A step's rows on their way to experts.
struct Selection {
  Selection(const CostMeter& meter, int rows)
      : rows(rows),
        queries(meter.Random(DeviceFloat::kF32, size_t(rows) * kHeads * 2 * kHalfWidth)),
        keys(meter.Random(DeviceFloat::kBF16, size_t{2} * kSubKeys * kHalfWidth)),
        positions(rows),
        ids(rows * kPicks),
        weights(meter.Zeros(rows * kPicks)),
        scratch(std::max(SelectScratchBytes(shape, rows), ControlScratchBytes(shape, rows))) {}

  SelectExpertsArgs args() const {
    return {.shape = shape,
            .queries = F32(queries),
            .sub_keys = keys.data(),
            .positions = positions.data(),
            .ids = ids.data(),
            .weights = F32(weights),
            .count = rows,
            .scratch = scratch.data()};
  }

  const ProductKeyShape shape{.heads = kHeads,
                              .top_k = kTopK,
                              .num_sub_keys = kSubKeys,
                              .half_width = kHalfWidth,
                              .sets = 2};
  const int rows;
  const DeviceFloats queries, keys;
  const DeviceArray<int32_t> positions;
  const DeviceArray<uint32_t> ids;
  const DeviceFloats weights;
  const DeviceArray<uint8_t> scratch;
};

void MeasureSelection(CostMeter& meter) {
  const Selection selection(meter, 2);
  meter.Measure("select", {"SubKeyListKernel", "ProductKeySumKernel"},
                [&](cudaStream_t stream) { return SelectExperts(selection.args(), stream); });
}

// In a step that decodes sixteen sequences, of which one masks an expert, or none does.
void MeasureControl(CostMeter& meter, const std::string& name, bool asks) {
  constexpr int kRows = 16;
  const Selection selection(meter, kRows);
  meter.Measure(name, {},
                [&](cudaStream_t stream) { return SelectExperts(selection.args(), stream); });
  constexpr int kEntryWords = sizeof(RouterControl) / sizeof(uint32_t);
  std::vector<uint32_t> words(kEntryWords + 1, selection.ids.Read()[5 * kPicks]);
  const RouterControl entry{.top_k = kTopK, .first_masked = kEntryWords, .masked = 1};
  std::memcpy(words.data(), &entry, sizeof(entry));
  std::vector<int32_t> asked(kRows, -1);
  if (asks) asked[5] = 0;
  const DeviceArray<int32_t> of_token(asked);
  const DeviceArray<uint32_t> lists(words);
  const RouterControls controls{
      .of_token = of_token.data(), .first = 0, .end = kRows, .words = lists.data()};
  meter.Measure(name, {"SubKeyScoreKernel", "ControlPicksKernel"}, [&](cudaStream_t stream) {
    return ControlPicks(
        {.select = selection.args(), .controls = controls, .scratch = selection.scratch.data()},
        stream);
  });
}

// Of sixteen tokens one is a sample.
void MeasureCounting(CostMeter& meter) {
  constexpr int kRows = 16;
  const Selection selection(meter, kRows);
  const DeviceArray<uint32_t> ids(meter.RandomIds(kRows * kPicks, kExperts));
  const DeviceFloats weights = meter.Random(DeviceFloat::kF32, ids.size());
  const DeviceFloats scratch = meter.Zeros(ObserveScratchFloats(selection.shape, kRows));
  const DeviceArray<ExpertCount> counts(kExperts);
  const DeviceArray<uint32_t> last_step(kExperts);
  const DeviceArray<DeviceTotals> totals(1);
  const DeviceArray<uint64_t> sub_keys(size_t{2} * kHeads * kSubKeys);
  meter.Measure("observe", {"ScoreSampleKernel", "RouterFiguresKernel"}, [&](cudaStream_t stream) {
    return ObserveRouter({.shape = selection.shape,
                          .queries = F32(selection.queries),
                          .sub_keys = selection.keys.data(),
                          .ids = ids.data(),
                          .positions = selection.positions.data(),
                          .count = kRows,
                          .totals = totals.data(),
                          .scratch = F32(scratch)},
                         stream);
  });
  meter.Measure("count", {"CountKernel", "CountTokensKernel"}, [&](cudaStream_t stream) {
    return CountExperts({.ids = ids.data(),
                         .weights = F32(weights),
                         .positions = selection.positions.data(),
                         .count = kRows,
                         .heads = kHeads,
                         .top_k = kTopK,
                         .counts = counts.data(),
                         .last_step = last_step.data(),
                         .totals = totals.data(),
                         .sub_keys = sub_keys.data(),
                         .num_sub_keys = kSubKeys,
                         .experts_of_set = kExperts},
                        stream);
  });
}

}  // namespace

void MeasureRetrieval(CostMeter& meter) {
  MeasureSelection(meter);
  MeasureControl(meter, "control_none", /*asks=*/false);
  MeasureControl(meter, "control_one", /*asks=*/true);
  MeasureCounting(meter);
}

}  // namespace peerage::kernels::cuda
