// The model on top of a device that only takes notes, and what loading says of a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/nn/load_model.h"
#include "model/nn/plan/model_plan.h"
#include "model/nn/transformer.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/odd_models.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What the device was given, and what it answers.
struct DeviceNotes {
  std::vector<std::string> tokens;  // "id@position" of the last batch
  std::vector<uint64_t> random;     // the next bits of every slot
  absl::Status answer;
  int failing_row = -1;
  int cleared = 0;
};

class NotingDevice : public nn::ForwardPass {
 public:
  explicit NotingDevice(DeviceNotes& notes) : notes_(notes) {}

  const nn::DeviceFacts& facts() const override { return facts_; }

  absl::Status Run(const nn::StepBatch& batch, absl::Span<nn::Slot> slots, nn::OutputRows& rows,
                   nn::HiddenRows& hidden) override {
    notes_.tokens.clear();
    notes_.random.clear();
    for (const nn::StepBatch::Token& token : batch.tokens()) {
      notes_.tokens.push_back(std::to_string(token.id) + "@" + std::to_string(token.position));
    }
    for (const nn::Slot& slot : slots) notes_.random.push_back(slot.Random());
    for (int row = 0; row < rows.size(); ++row) {
      if (rows.wanted(row).sample) slots[rows.slot(row)].Remember(1);
      for (TokenScore& score : rows.scores(row)) score.rank = 100 + rows.token(row);
      if (row == notes_.failing_row) rows.Fail(row);
    }
    for (int layer = 0; layer < 4; ++layer) {
      const nn::HiddenRows::Range range = hidden.RowsOf(layer);
      for (int row = range.first; row < range.end; ++row) {
        hidden.values()[row * hidden.width()] = 100 * layer + hidden.tokens()[row];
      }
    }
    return notes_.answer;
  }

  absl::Span<const ExpertPicks> Picks() override { return {&picks_, 1}; }
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override {
    counts[0].selections = 7;
    return {.tokens = 31u + expert_layer, .squared_scores = 5};
  }
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override {
    counts[0] = 50u + expert_layer;
  }
  void ClearUsage() override { ++notes_.cleared; }

 private:
  DeviceNotes& notes_;
  const nn::DeviceFacts facts_;
  const uint32_t id_ = 97;
  const ExpertPicks picks_{.ids = {&id_, 1}};
};

class TransformerSeamTest : public testing::Test {
 protected:
  TransformerSeamTest() {
    for (SlotId slot = 0; slot < 3; ++slot) model_.Open(slot, {.sampling = {.seed = 5}});
  }

  absl::StatusOr<StepOutput> Step(SlotId slot, bool sample) {
    chunk_ = {.slot = slot, .tokens = tokens_, .first_position = 3, .blocks = blocks_};
    row_ = {.row = 1, .sample = sample, .targets = sample ? absl::Span<const TokenId>() : tokens_};
    return model_.Step({.chunks = {&chunk_, 1}, .rows = {&row_, 1}, .hidden_rows = hidden_rows_});
  }

  DeviceNotes notes_;
  nn::Transformer model_{ModelDescription{.hidden_size = 2, .vocabulary_size = 97},
                         ModelCapacity{.block_tokens = 32, .num_slots = 3},
                         std::make_unique<NotingDevice>(notes_)};
  const std::vector<TokenId> tokens_ = {11, 12};
  const std::vector<BlockId> blocks_ = {0};
  Chunk chunk_;
  OutputRow row_;
  std::vector<HiddenRow> hidden_rows_;
};

TEST_F(TransformerSeamTest, GivesTheDeviceTheBatchAndReportsItsRows) {
  const auto output = Step(1, false);
  ASSERT_TRUE(output.ok());
  EXPECT_THAT(notes_.tokens, ElementsAre("11@3", "12@4"));
  ASSERT_EQ(output->rows[0].tokens.size(), 2u);
  EXPECT_EQ(output->rows[0].tokens[1].rank, 101u);
  EXPECT_TRUE(output->chunk_status[0].ok());
  ASSERT_EQ(output->picks.size(), 1u);
  EXPECT_EQ(output->picks[0].ids[0], 97u);
}

TEST_F(TransformerSeamTest, ReportsHiddenStatesWhereTheyWereAskedFor) {
  hidden_rows_ = {{.row = 1, .layer = 3}, {.row = 0, .layer = 2}, {.row = 0, .layer = 3}};
  const auto output = Step(1, false);
  ASSERT_TRUE(output.ok());
  std::vector<float> firsts;
  for (const absl::Span<const float> row : output->hidden) {
    ASSERT_EQ(row.size(), 2u);
    firsts.push_back(row[0]);
  }
  EXPECT_THAT(firsts, ElementsAre(301, 200, 300));
}

TEST_F(TransformerSeamTest, ADevicesErrorIsTheSteps) {
  notes_.answer = absl::UnavailableError("lost");
  EXPECT_EQ(Step(0, false).status(), notes_.answer);
  notes_.answer = absl::OkStatus();
  notes_.failing_row = 0;
  const auto output = Step(0, false);
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->chunk_status[0].code(), absl::StatusCode::kInternal);
}

// A slot goes on where its state says; a closed one begins anew.
TEST_F(TransformerSeamTest, KeepsASlotForEachSequence) {
  ASSERT_TRUE(Step(0, true).ok());
  ASSERT_TRUE(Step(0, false).ok());
  EXPECT_EQ(notes_.random[1], notes_.random[2]);
  EXPECT_NE(notes_.random[0], notes_.random[1]);
  const uint64_t origin = notes_.random[0];

  const std::vector<TokenId> drawn = {tokens_[0]};
  model_.Close(1);
  model_.Close(2);
  model_.Open(1, {.sampling = {.seed = 5}, .generated = drawn});
  model_.Open(2, {.sampling = {.seed = 5}, .generated = drawn, .candidate = 9});
  ASSERT_TRUE(Step(0, false).ok());
  EXPECT_EQ(notes_.random[1], origin);
  EXPECT_NE(notes_.random[2], origin);

  model_.Close(0);
  ASSERT_TRUE(Step(1, false).ok());
  EXPECT_EQ(notes_.random[0], nn::Slot().Random());
}

TEST_F(TransformerSeamTest, AsksTheDeviceForUsage) {
  std::vector<ExpertCount> counts(1);
  const UsageTotals totals = model_.ReadUsage(2, absl::MakeSpan(counts));
  EXPECT_EQ(totals.tokens, 33u);
  EXPECT_EQ(totals.squared_scores, 5u);
  EXPECT_EQ(counts[0].selections, 7u);
  std::vector<uint64_t> sub_keys(1);
  model_.ReadSubKeys(2, absl::MakeSpan(sub_keys));
  EXPECT_EQ(sub_keys[0], 52u);
  model_.ClearUsage();
  EXPECT_EQ(notes_.cleared, 1);
}

TEST(LoadModelTest, DescribesWhatWasLoaded) {
  for (const auto& [name, config] : OddModels()) {
    const MemoryCheckpoint checkpoint(config, 3);
    const nn::ModelPlan plan = nn::PlanModel(config);
    const auto model = nn::LoadModel(
        checkpoint, {.num_slots = 3, .max_step_tokens = 31, .kv_cache_bytes = 1 << 18});
    ASSERT_TRUE(model.ok()) << model.status();
    const ModelDescription& description = (*model)->description();
    EXPECT_EQ(description.architecture, "peerage");
    EXPECT_EQ(description.fingerprint, std::string(64, '0'));
    EXPECT_EQ(description.total_parameters, plan.Parameters());
    EXPECT_EQ(description.active_parameters, plan.ActiveParameters());
    EXPECT_EQ(description.num_layers, 3u);
    EXPECT_EQ(description.hidden_size, 33u);
    EXPECT_EQ(description.vocabulary_size, 97u);
    EXPECT_EQ(description.context_length, 257u);
    EXPECT_EQ(description.weights_dtype, "f32");
    EXPECT_EQ(description.kv_bytes_per_token, plan.KvValues() * sizeof(float));
    EXPECT_EQ(description.device, "cpu");
    EXPECT_EQ(description.expert_layers.size(), plan.ExpertLayers().size());
    EXPECT_EQ((*model)->capacity().num_slots, 3);
    EXPECT_EQ((*model)->capacity().max_step_tokens, 31);
    EXPECT_EQ((*model)->capacity().block_tokens, 32);
  }
}

TEST(LoadModelTest, RefusesHeadsThatAttentionCannotTake) {
  ModelConfig config = OddConfig();
  config.head_dim = 258;
  const MemoryCheckpoint checkpoint(config, 1);
  const absl::Status status = nn::CheckLoadable(checkpoint, {.kv_cache_bytes = 1 << 30});
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("258"));
  EXPECT_EQ(nn::LoadModel(checkpoint, {.kv_cache_bytes = 1 << 30}).status(), status);
}

}  // namespace
}  // namespace peerage
