// 16 heads of 128 over 4 KV heads.
#include <algorithm>

#include "model/kernels/attention_cuda.h"
#include "tests/cuda/kernels/cost_meter.h"

namespace peerage::kernels::cuda {
namespace {

constexpr AttentionShape kShape{.heads = 16, .kv_heads = 4, .head_dim = 128, .scale = 0.1f};

struct AttentionStep {
  int sequences = 0;
  int tokens = 0;  // the last ones of each sequence's context
  int context = 0;
  DeviceFloat cache = DeviceFloat::kBF16;
};

std::vector<AttentionItem> ItemsOf(const AttentionStep& step) {
  std::vector<AttentionItem> items;
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    for (int first = 0; first < step.tokens; first += kAttentionItemTokens) {
      items.push_back({.token = sequence * step.tokens + first,
                       .tokens = std::min(step.tokens - first, kAttentionItemTokens),
                       .position = step.context - step.tokens + first,
                       .sequence = sequence});
    }
  }
  return items;
}

void MeasureStep(CostMeter& meter, const std::string& name, const std::vector<std::string>& kernels,
                 const AttentionStep& step) {
  const int rows = step.sequences * step.tokens, width = kShape.heads * kShape.head_dim;
  const int blocks = (step.context + kBlockTokens - 1) / kBlockTokens;
  std::vector<int32_t> ids(step.sequences * blocks);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const std::vector<AttentionItem> list = ItemsOf(step);
  const int splits = step.tokens > 1 ? 0 : (step.context + kSplitTokens - 1) / kSplitTokens;
  const DeviceFloats q = meter.Random(DeviceFloat::kF32, size_t(rows) * width);
  const DeviceFloats kv = meter.Random(step.cache, ids.size() * KvBlockElements(kShape));
  const DeviceArray<int32_t> block_table(ids);
  const DeviceArray<AttentionItem> items(list);
  const DeviceFloats out(DeviceFloat::kBF16, size_t(rows) * width, 0);
  const DeviceFloats partials = meter.Zeros(AttentionPartialFloats(kShape, rows, splits));
  meter.Measure(name, kernels, [&](cudaStream_t stream) {
    return Attention(
        {.shape = kShape,
         .q = F32(q),
         .q_stride = size_t(width),
         .cache = {.kv = kv.data(), .type = step.cache, .block_stride = KvBlockElements(kShape)},
         .block_table = block_table.data(),
         .max_blocks = blocks,
         .items = items.data(),
         .num_items = static_cast<int>(list.size()),
         .out = out.data(),
         .splits = splits,
         .count = rows,
         .partials = F32(partials)},
        stream);
  });
}

// Four tokens behind one another in one block.
void MeasureRotary(CostMeter& meter) {
  constexpr int kRows = 4, kPositions = 64;
  const int qkv_width = (kShape.heads + 2 * kShape.kv_heads) * kShape.head_dim;
  const DeviceFloats qkv = meter.Random(DeviceFloat::kF32, size_t(kRows) * qkv_width);
  const DeviceFloats angles = meter.Random(DeviceFloat::kF32, size_t(kPositions) * kShape.head_dim);
  const DeviceFloats kv(DeviceFloat::kBF16, KvBlockElements(kShape), 0);
  const DeviceArray<int32_t> positions(std::vector<int32_t>{28, 29, 30, 31}), blocks(kRows);
  meter.Measure("rotate_and_store", {"RotateAndStoreKernel"}, [&](cudaStream_t stream) {
    return RotateAndStore({.shape = kShape,
                           .angles = F32(angles),
                           .qkv = F32(qkv),
                           .cache = {.kv = kv.data(), .block_stride = KvBlockElements(kShape)},
                           .positions = positions.data(),
                           .blocks = blocks.data(),
                           .count = kRows},
                          stream);
  });
}

}  // namespace

void MeasureAttention(CostMeter& meter) {
  MeasureStep(meter, "attention_decode", {"AttendTilesKernel", "MergeSplitsKernel"},
              {.sequences = 2, .tokens = 1, .context = 700});
  MeasureStep(meter, "attention_prefill", {"AttendTilesKernel"},
              {.sequences = 1, .tokens = 64, .context = 200});
  MeasureStep(meter, "attention_f32", {"AttendRowsKernel"},
              {.sequences = 2, .tokens = 1, .context = 200, .cache = DeviceFloat::kF32});
  MeasureRotary(meter);
}

}  // namespace peerage::kernels::cuda
