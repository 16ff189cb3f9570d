#include "tests/support/layer_bench.h"

#include <algorithm>
#include <cmath>

#include "model/kernels/attention.h"

namespace peerage::nn::cpu {
namespace {

template <typename Lay>
Storage TakeAll(const Lay& lay) {
  auto storage = AllocateFor(Pages::kNormal, lay);
  EXPECT_TRUE(storage.ok()) << storage.status();
  return *std::move(storage);
}

}  // namespace

LayerBench::LayerBench(const Checkpoint& checkpoint, LoadOptions options)
    : checkpoint_(checkpoint),
      options_(std::move(options)),
      plan_(PlanModel(checkpoint.config())),
      kv_cache_(plan_),
      counters_(plan_.ExpertLayers(), {.count = options_.count_experts,
                                       .trace = options_.trace_experts,
                                       .max_tokens = options_.max_step_tokens}),
      batch_(kernels::kBlockTokens),
      pool_(options_.threads) {}

void LayerBench::LayBuffers(size_t expert_scratch_bytes) {
  const Workspace::Shape shape{.widths = plan_.Buffers(),
                               .hidden_size = plan_.hidden_size,
                               .vocab_size = plan_.vocab_size,
                               .max_tokens = options_.max_step_tokens,
                               .threads = options_.threads,
                               .expert_scratch_bytes = expert_scratch_bytes};
  kv_ = TakeAll([&](Arena& arena) { kv_cache_.Lay(kKvBlocks, arena); });
  buffers_ = TakeAll([&](Arena& arena) { workspace_.Lay(shape, arena); });
  counts_ = TakeAll([&](Arena& arena) { counters_.LayCounters(arena); });
  picks_ = TakeAll([&](Arena& arena) { counters_.LayPicks(arena); });
}

StepContext LayerBench::Begin(const std::vector<BenchChunk>& chunks) {
  pieces_ = chunks;
  tokens_.clear();
  chunks_.clear();
  for (const BenchChunk& piece : pieces_) tokens_.emplace_back(piece.tokens, TokenId{0});
  for (size_t i = 0; i < pieces_.size(); ++i) {
    chunks_.push_back({.slot = static_cast<SlotId>(i),
                       .tokens = tokens_[i],
                       .first_position = pieces_[i].first_position,
                       .blocks = pieces_[i].blocks});
  }
  batch_.Assign({.chunks = chunks_});
  tables_.Assign(batch_);
  return StepContext{pool_, workspace_, batch_, tables_, counters_, tap_};
}

Activations LayerBench::Input(const std::vector<float>& rows) {
  const size_t width = plan_.hidden_size;
  EXPECT_EQ(rows.size(), batch_.size() * width);
  std::copy(rows.begin(), rows.end(), workspace_.normed);
  return {.x = workspace_.normed,
          .stride = width,
          .panels = workspace_.panels,
          .tokens = batch_.size()};
}

void LayerBench::SetResidual(const std::vector<float>& rows) {
  EXPECT_EQ(rows.size(), size_t(batch_.size()) * plan_.hidden_size);
  std::copy(rows.begin(), rows.end(), workspace_.residual);
}

std::vector<float> LayerBench::Residual() const {
  const size_t count = size_t(batch_.size()) * plan_.hidden_size;
  return {workspace_.residual, workspace_.residual + count};
}

DoubleRows ToRows(const std::vector<float>& values, size_t width) {
  DoubleRows rows;
  for (auto row = values.begin(); row != values.end(); row += width) {
    rows.emplace_back(row, row + width);
  }
  return rows;
}

void ExpectRowsNear(const std::vector<float>& actual, const DoubleRows& expected,
                    double tolerance) {
  const size_t width = expected.front().size();
  ASSERT_EQ(actual.size(), expected.size() * width);
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i / width][i % width], tolerance)
        << "row " << i / width << ", value " << i % width;
  }
}

}  // namespace peerage::nn::cpu
