// What each kernel executes, loads and waits for at shapes of real models, against the committed
// table instruction_budget.txt. Its header says what is counted and how it is written anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "model/kernels/attention_cuda.h"
#include "model/kernels/controlled_picks_cuda.h"
#include "model/kernels/experts_cuda.h"
#include "model/kernels/linear_cuda.h"
#include "model/kernels/norm_cuda.h"
#include "model/kernels/output_head_cuda.h"
#include "model/kernels/product_keys_cuda.h"
#include "tests/cuda/kernels/device_floats.h"
#include "tests/cuda/support/device_array.h"

namespace peerage::kernels::cuda {
namespace {

constexpr char kTable[] = "tests/cuda/kernels/instruction_budget.txt";
constexpr char kUpdate[] = "UPDATE_INSTRUCTION_BUDGET";
constexpr double kTolerance = 0.05;

struct Cost {
  uint64_t instructions = 0, sectors = 0, conflicts = 0;
};
using Costs = std::map<std::pair<std::string, std::string>, Cost>;  // by shape and kernel

std::string HeaderOf(std::istream& table) {
  std::string header, line;
  while (table.peek() == '#' && std::getline(table, line)) header += line + "\n";
  return header;
}

Costs ReadTable() {
  std::ifstream table(kTable);
  HeaderOf(table);
  Costs costs;
  std::string shape, kernel;
  Cost cost;
  while (table >> shape >> kernel >> cost.instructions >> cost.sectors >> cost.conflicts) {
    costs[{shape, kernel}] = cost;
  }
  return costs;
}

void WriteTable(const Costs& costs) {
  std::ifstream before(kTable);
  const std::string header = HeaderOf(before);
  std::ofstream table(kTable);
  table << header;
  for (const auto& [key, cost] : costs) {
    table << key.first << " " << key.second << " " << cost.instructions << " " << cost.sectors
          << " " << cost.conflicts << "\n";
  }
}

class InstructionBudgetTest : public CudaTest {
 protected:
  InstructionBudgetTest() {
    std::normal_distribution<float> normal;
    for (float& x : floats_) x = normal(random_);
  }

  // Random numbers, the same for every shape.
  DeviceFloats Random(DeviceFloat type, size_t count) const {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = floats_[i % floats_.size()];
    return {type, values};
  }
  DeviceFloats Zeros(size_t count) const { return {DeviceFloat::kF32, count, 0.0f}; }
  static float* F32(const DeviceFloats& floats) { return reinterpret_cast<float*>(floats.data()); }

  // What `launch` costs in each of the kernels.
  void Measure(const std::string& shape, const std::vector<std::string>& kernels,
               const std::function<cudaError_t()>& launch) {
    standin::ResetCounters();
    ASSERT_EQ(launch(), cudaSuccess) << shape;
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess) << shape;
    for (const std::string& kernel : kernels) {
      const standin::KernelCounters counters = standin::Counters(kernel);
      EXPECT_GT(counters.launches, 0u) << shape << " does not launch " << kernel;
      costs_[{shape, kernel}] = {counters.instructions, counters.load_sectors,
                                 counters.bank_conflicts};
    }
  }

  struct Selection;
  void MeasureSelection();
  void MeasureControl(const std::string& shape, bool asks);
  void MeasureExperts();
  void MeasureAttention(const std::string& shape, int sequences, int tokens, int context);
  void MeasureLinear(int rows);
  void MeasureNorm();
  void MeasureHead(const std::string& shape, const std::vector<std::string>& kernels,
                   RowRequest request);

  std::mt19937 random_{1};
  std::vector<float> floats_ = std::vector<float>(65'521);  // prime: rows differ
  Costs costs_;
};

// One million experts: 8 heads of each row choose 16 by 1,024 sub-keys a half.
struct InstructionBudgetTest::Selection {
  static constexpr int64_t kPicks = 8 * 16;

  Selection(InstructionBudgetTest& test, int rows)
      : rows(rows),
        queries(test.Random(DeviceFloat::kF32, size_t(rows) * shape.heads * 256)),
        keys(test.Random(DeviceFloat::kBF16, size_t{2} * 1024 * 128)),
        positions(rows),
        ids(rows * kPicks),
        weights(test.Zeros(rows * kPicks)),
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

  const ProductKeyShape shape{
      .heads = 8, .top_k = 16, .num_sub_keys = 1024, .half_width = 128, .sets = 2};
  const int rows;
  const DeviceFloats queries, keys;
  const DeviceArray<int32_t> positions;
  const DeviceArray<uint32_t> ids;
  const DeviceFloats weights;
  const DeviceArray<uint8_t> scratch;
};

void InstructionBudgetTest::MeasureSelection() {
  const Selection selection(*this, 2);
  Measure("select", {"SubKeyListKernel", "ProductKeySumKernel"},
          [&] { return SelectExperts(selection.args(), stream_); });
}

// As MeasureSelection, in a step that decodes sixteen sequences, of which one masks an expert, or
// none does.
void InstructionBudgetTest::MeasureControl(const std::string& name, bool asks) {
  constexpr int kRows = 16;
  const Selection selection(*this, kRows);
  ASSERT_EQ(SelectExperts(selection.args(), stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  constexpr int kEntryWords = sizeof(RouterControl) / sizeof(uint32_t);
  std::vector<uint32_t> words(kEntryWords + 1, selection.ids.Read()[5 * Selection::kPicks]);
  const RouterControl entry{
      .top_k = selection.shape.top_k, .first_masked = kEntryWords, .masked = 1};
  std::memcpy(words.data(), &entry, sizeof(entry));
  std::vector<int32_t> asked(kRows, -1);
  if (asks) asked[5] = 0;
  const DeviceArray<int32_t> of_token(asked);
  const DeviceArray<uint32_t> lists(words);
  const RouterControls controls{
      .of_token = of_token.data(), .first = 0, .end = kRows, .words = lists.data()};
  Measure(name, {"SubKeyScoreKernel", "ControlPicksKernel"}, [&] {
    return ControlPicks(
        {.select = selection.args(), .controls = controls, .scratch = selection.scratch.data()},
        stream_);
  });
}

void InstructionBudgetTest::MeasureExperts() {
  constexpr int kRows = 2, kHeads = 8, kTopK = 16, kWidth = 1024;
  ExpertTable table{.format = ExpertFormat::kBF16, .width = kWidth, .num_experts = 1024};
  const DeviceFloats records = Random(DeviceFloat::kBF16, table.Bytes() / 2);
  table.records = records.data();
  std::vector<uint32_t> picked(kRows * kHeads * kTopK);
  for (uint32_t& id : picked) id = random_() % 1024;
  const DeviceArray<uint32_t> ids(picked);
  const DeviceFloats weights = Random(DeviceFloat::kF32, picked.size());
  const DeviceFloats x = Random(DeviceFloat::kBF16, kRows * kWidth);
  const DeviceFloats partials = Zeros(kRows * kHeads * kWidth);
  Measure("experts", {"ExpertKernel"}, [&] {
    return RunExperts({.table = table,
                       .heads = kHeads,
                       .top_k = kTopK,
                       .x = x.data(),
                       .x_stride = kWidth,
                       .ids = ids.data(),
                       .weights = F32(weights),
                       .partials = F32(partials),
                       .count = kRows},
                      stream_);
  });
}

// The last `tokens` of each sequence's context.
void InstructionBudgetTest::MeasureAttention(const std::string& name, int sequences, int tokens,
                                             int context) {
  const AttentionShape shape{.heads = 16, .kv_heads = 4, .head_dim = 128, .scale = 0.1f};
  const int rows = sequences * tokens, width = shape.heads * shape.head_dim;
  const int blocks = (context + kBlockTokens - 1) / kBlockTokens;
  std::vector<int32_t> ids(sequences * blocks);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::vector<AttentionItem> list;
  for (int sequence = 0; sequence < sequences; ++sequence) {
    for (int first = 0; first < tokens; first += kAttentionItemTokens) {
      list.push_back({.token = sequence * tokens + first,
                      .tokens = std::min(tokens - first, kAttentionItemTokens),
                      .position = context - tokens + first,
                      .sequence = sequence});
    }
  }
  const int splits = tokens > 1 ? 0 : (context + kSplitTokens - 1) / kSplitTokens;
  const DeviceFloats q = Random(DeviceFloat::kF32, size_t(rows) * width);
  const DeviceFloats kv = Random(DeviceFloat::kBF16, ids.size() * KvBlockElements(shape));
  const DeviceArray<int32_t> block_table(ids);
  const DeviceArray<AttentionItem> items(list);
  const DeviceFloats out(DeviceFloat::kBF16, size_t(rows) * width, 0);
  const DeviceFloats partials = Zeros(AttentionPartialFloats(shape, rows, splits));
  std::vector<std::string> kernels = {"AttendTilesKernel"};
  if (splits > 0) kernels.push_back("MergeSplitsKernel");
  Measure(name, kernels, [&] {
    return Attention({.shape = shape,
                      .q = F32(q),
                      .q_stride = size_t(width),
                      .cache = {.kv = kv.data(), .block_stride = KvBlockElements(shape)},
                      .block_table = block_table.data(),
                      .max_blocks = blocks,
                      .items = items.data(),
                      .num_items = static_cast<int>(list.size()),
                      .out = out.data(),
                      .splits = splits,
                      .count = rows,
                      .partials = F32(partials)},
                     stream_);
  });
}

void InstructionBudgetTest::MeasureLinear(int rows) {
  const LinearShape shape{.outputs = 1024, .depth = 2048};
  const DeviceFloats w = Random(DeviceFloat::kBF16, size_t(shape.outputs) * shape.depth);
  const DeviceFloats x = Random(DeviceFloat::kBF16, size_t(rows) * shape.depth);
  const DeviceFloats y = Zeros(size_t(rows) * shape.outputs);
  const DeviceFloats scratch = Zeros(LinearScratchFloats(shape, rows));
  Measure("linear_" + std::to_string(rows), {"LinearOnTensorCoresKernel"}, [&] {
    return Linear({.shape = shape,
                   .w = w.data(),
                   .x = x.data(),
                   .x_stride = size_t(shape.depth),
                   .y = F32(y),
                   .y_stride = size_t(shape.outputs),
                   .rows = rows,
                   .scratch = F32(scratch)},
                  stream_);
  });
}

void InstructionBudgetTest::MeasureNorm() {
  constexpr int kRows = 4, kWidth = 2048, kParts = 8;
  const DeviceFloats x = Random(DeviceFloat::kF32, kRows * kWidth);
  const DeviceFloats weight = Random(DeviceFloat::kF32, kWidth);
  const DeviceFloats y(DeviceFloat::kBF16, kRows * kWidth, 0);
  Measure("norm", {"NormKernel"}, [&] {
    return Norm({.x = x.data(),
                 .x_stride = kWidth,
                 .weight = F32(weight),
                 .y = y.data(),
                 .y_stride = kWidth,
                 .count = kRows,
                 .width = kWidth},
                stream_);
  });
  const DeviceFloats parts = Random(DeviceFloat::kF32, kRows * kParts * kWidth);
  const RowParts added{
      .parts = F32(parts), .part_stride = kWidth, .row_stride = kParts * kWidth, .count = kParts};
  Measure("add", {"AddRowsKernel"},
          [&] { return AddRows({.x = F32(x), .count = kRows, .width = kWidth}, added, stream_); });
  Measure("add_and_norm", {"NormKernel"}, [&] {
    return NormOfSum({.x = x.data(),
                      .x_stride = kWidth,
                      .weight = F32(weight),
                      .y = y.data(),
                      .y_stride = kWidth,
                      .sums = F32(x),
                      .count = kRows,
                      .width = kWidth},
                     added, stream_);
  });
}

void InstructionBudgetTest::MeasureHead(const std::string& name,
                                        const std::vector<std::string>& kernels,
                                        RowRequest request) {
  constexpr int kVocabulary = 49'152;
  request.token_row = 0;
  request.sample = request.scores = 1;
  request.random = 0x0123456789abcdef;
  const DeviceFloats logits = Random(DeviceFloat::kF32, kVocabulary);
  const DeviceArray<RowRequest> requests({request});
  const DeviceArray<DeviceScore> scores(1);
  const DeviceArray<DeviceAlternative> alternatives(kMostAlternatives);
  const DeviceArray<int32_t> failed(1);
  const DeviceArray<uint8_t> scratch(ReportScratchBytes(kVocabulary, 1));
  Measure(name, kernels, [&] {
    return ReportRows({.logits = F32(logits),
                       .vocabulary = kVocabulary,
                       .requests = requests.data(),
                       .count = 1,
                       .scores = scores.data(),
                       .alternatives = alternatives.data(),
                       .failed = failed.data(),
                       .scratch = scratch.data()},
                      stream_);
  });
}

void ExpectNear(uint64_t count, uint64_t budget, const std::string& what) {
  EXPECT_NEAR(static_cast<double>(count), static_cast<double>(budget),
              kTolerance * static_cast<double>(budget))
      << what << "; if that is meant, run it again with " << kUpdate << "=1";
}

TEST_F(InstructionBudgetTest, EveryKernelCostsWhatTheTableSays) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  MeasureSelection();
  MeasureControl("control_none", /*asks=*/false);
  MeasureControl("control_one", /*asks=*/true);
  MeasureExperts();
  MeasureAttention("attention_decode", 2, 1, 700);
  MeasureAttention("attention_prefill", 1, 64, 200);
  MeasureLinear(1);
  MeasureLinear(16);
  MeasureNorm();
  MeasureHead("head_greedy", {"ScanKernel", "FinishKernel"}, {.temperature = 0});
  MeasureHead("head_top_p",
              {"ScanKernel", "WeighKernel", "GatherKernel", "FinishKernel", "RankKernel"},
              {.alternatives = 5, .temperature = 1, .top_p = 0.95f});
  if (std::getenv(kUpdate) != nullptr) WriteTable(costs_);
  const Costs budgets = ReadTable();
  EXPECT_EQ(budgets.size(), costs_.size());
  for (const auto& [key, cost] : costs_) {
    const std::string what = key.first + ", " + key.second;
    ASSERT_EQ(budgets.count(key), 1u) << what << " has no line in " << kTable;
    const Cost& budget = budgets.at(key);
    ExpectNear(cost.instructions, budget.instructions, what + ": warp instructions");
    ExpectNear(cost.sectors, budget.sectors, what + ": sectors of loads");
    ExpectNear(cost.conflicts, budget.conflicts, what + ": bank conflicts");
  }
}

}  // namespace
}  // namespace peerage::kernels::cuda
