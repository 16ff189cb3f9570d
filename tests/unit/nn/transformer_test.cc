#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "model/nn/load_model.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/model_checks.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;

// A prompt of ids that all lie in the small vocabulary.
std::vector<TokenId> Prompt(int count, int stride) {
  std::vector<TokenId> tokens(count);
  for (int i = 0; i < count; ++i) tokens[i] = (7 + i * stride) % 60;
  return tokens;
}

struct Sequence {
  std::vector<TokenId> tokens;
  std::vector<BlockId> blocks;
};

class TransformerTest : public testing::Test {
 protected:
  std::unique_ptr<LanguageModel> Load(const MemoryCheckpoint& checkpoint, int threads = 1) {
    auto model = nn::LoadModel(
        checkpoint,
        {.threads = threads, .num_slots = 8, .max_step_tokens = 256, .kv_cache_bytes = 1 << 20});
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  // Feeds whole sequences in one step, a slot each, and scores the next token of every row.
  static StepOutput StepAll(LanguageModel& model, const std::vector<Sequence>& sequences) {
    static std::vector<Chunk> chunks;
    static std::vector<OutputRow> rows;
    chunks.clear();
    rows.clear();
    for (size_t s = 0; s < sequences.size(); ++s) {
      const Sequence& sequence = sequences[s];
      const size_t count = sequence.tokens.size() - 1;
      chunks.push_back({.slot = static_cast<SlotId>(s),
                        .tokens = absl::MakeConstSpan(sequence.tokens).first(count),
                        .first_position = 0,
                        .blocks = sequence.blocks});
      for (size_t i = 0; i < count; ++i) {
        rows.push_back({.chunk = static_cast<int>(s),
                        .row = static_cast<int>(i),
                        .targets = {&sequence.tokens[i + 1], 1},
                        .alternatives = 3});
      }
    }
    auto output = model.Step({.chunks = chunks, .rows = rows});
    EXPECT_TRUE(output.ok()) << output.status();
    return *output;
  }

  static std::vector<float> Logprobs(const StepOutput& output, size_t first, size_t count) {
    std::vector<float> values;
    for (size_t i = first; i < first + count; ++i) {
      values.push_back(output.rows[i].tokens[0].logprob);
    }
    return values;
  }
};

TEST_F(TransformerTest, ASequencesBitsDoNotDependOnItsNeighbours) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 1);
  const auto model = Load(checkpoint);
  const Sequence subject{Prompt(41, 11), {5, 3}};

  const std::vector<float> alone = Logprobs(StepAll(*model, {subject}), 0, 40);
  const StepOutput beside = StepAll(
      *model, {{Prompt(9, 5), {0}}, {Prompt(2, 1), {1}}, subject, {Prompt(64, 13), {7, 2}}});

  EXPECT_EQ(Logprobs(beside, 8 + 1, 40), alone);
}

TEST_F(TransformerTest, TheDistributionOfARowSumsToOne) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 2);
  const auto model = Load(checkpoint);
  const std::vector<TokenId> prompt = Prompt(5, 3);
  const std::vector<BlockId> blocks = {0};
  std::vector<TokenId> all(checkpoint.config().vocab_size);
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  const Chunk chunk{.slot = 0, .tokens = prompt, .blocks = blocks};
  const OutputRow row{.chunk = 0, .row = 4, .targets = all, .alternatives = 20};

  const auto output = model->Step({.chunks = {&chunk, 1}, .rows = {&row, 1}});

  ASSERT_TRUE(output.ok());
  double sum = 0;
  for (const TokenScore& score : output->rows[0].tokens) {
    sum += std::exp(double{score.logprob});
    if (score.rank <= 20) {
      EXPECT_EQ(output->rows[0].alternatives[score.rank - 1].token, score.token);
      EXPECT_EQ(output->rows[0].alternatives[score.rank - 1].logprob, score.logprob);
    }
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST_F(TransformerTest, ANaNFailsItsOwnSequenceAlone) {
  MemoryCheckpoint checkpoint(SmallConfig(), 3);
  constexpr TokenId kPoisoned = 66;
  checkpoint.values("model.embed_tokens.weight")[kPoisoned * 32 + 5] =
      std::numeric_limits<float>::quiet_NaN();
  auto config = checkpoint.config();
  const auto model = Load(checkpoint);
  Sequence poisoned{Prompt(8, 7), {1}};
  poisoned.tokens[3] = kPoisoned;
  // With a tied head the poisoned row also poisons one logit of everybody; untied it does not.
  config.tied_embeddings = false;
  MemoryCheckpoint untied(config, 3);
  untied.values("model.embed_tokens.weight")[kPoisoned * 32 + 5] =
      std::numeric_limits<float>::quiet_NaN();
  const auto untied_model = Load(untied);

  const StepOutput output =
      StepAll(*untied_model, {{Prompt(8, 5), {0}}, poisoned, {Prompt(6, 3), {2}}});

  EXPECT_TRUE(output.chunk_status[0].ok());
  EXPECT_EQ(output.chunk_status[1].code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(output.chunk_status[2].ok());
  EXPECT_FALSE(StepAll(*model, {{Prompt(8, 5), {0}}}).chunk_status[0].ok());
}

TEST_F(TransformerTest, AForkContinuesItsOriginsSequence) {
  ExpectAForkContinuesItsOriginsSequence(MemoryCheckpoint(SmallConfig(), 4));
}

TEST_F(TransformerTest, CandidatesDrawFromStreamsOfTheirOwn) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 5);
  const auto model = Load(checkpoint);
  const auto sample = [&](SlotId slot) {
    std::vector<TokenId> drawn, input = Prompt(4, 3);
    const std::vector<BlockId> blocks = {slot};
    int position = 0;
    for (int i = 0; i < 12; ++i) {
      const Chunk chunk{
          .slot = slot, .tokens = input, .first_position = position, .blocks = blocks};
      const OutputRow row{.chunk = 0, .row = static_cast<int>(input.size()) - 1, .sample = true};
      const auto output = model->Step({.chunks = {&chunk, 1}, .rows = {&row, 1}});
      position += static_cast<int>(input.size());
      input = {output->rows[0].tokens[0].token};
      drawn.push_back(input[0]);
    }
    return drawn;
  };
  const SamplingParams params{.temperature = 1, .seed = 99};
  for (SlotId slot = 0; slot < 3; ++slot) model->Open(slot, {.sampling = params});
  model->Open(3, {.sampling = params, .candidate = 1});

  const std::vector<TokenId> first = sample(0);

  EXPECT_EQ(sample(1), first);  // the same seed and candidate
  EXPECT_NE(sample(3), first);  // another candidate
}

TEST_F(TransformerTest, ModelsOfAFamilyShareTheWeightsThatAreReadOnceAndNothingElse) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 8);
  const Sequence subject{Prompt(41, 11), {5, 3}}, other{Prompt(41, 13), {5, 3}};
  const std::vector<float> expected = Logprobs(StepAll(*Load(checkpoint), {subject}), 0, 40);
  int reads = 0;
  nn::ModelFamily family(&checkpoint, {.num_slots = 8,
                                       .max_step_tokens = 256,
                                       .kv_cache_bytes = 1 << 20,
                                       .progress = [&](const nn::LoadProgress&) { ++reads; }});
  auto first = family.Load(1);
  ASSERT_TRUE(first.ok()) << first.status();
  const int reads_of_one = std::exchange(reads, 0);
  auto second = family.Load(2);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_GT(reads_of_one, 0);
  EXPECT_EQ(reads, 0);
  EXPECT_EQ((*second)->description().fingerprint, (*first)->description().fingerprint);

  EXPECT_EQ(Logprobs(StepAll(**first, {subject}), 0, 40), expected);
  EXPECT_NE(Logprobs(StepAll(**second, {other}), 0, 40), expected)
      << "in the same blocks of its own";
  // The first one's keys and values are still there.
  const std::vector<BlockId> blocks = {5, 3};
  const TokenId last = subject.tokens.back();
  const Chunk chunk{.slot = 0, .tokens = {&last, 1}, .first_position = 40, .blocks = blocks};
  const OutputRow row{.chunk = 0, .row = 0, .targets = {&last, 1}, .alternatives = 0};
  const auto go_on = [&](LanguageModel& model) {
    return model.Step({.chunks = {&chunk, 1}, .rows = {&row, 1}})->rows[0].tokens[0].logprob;
  };
  const float next = go_on(**first);
  first->reset();
  EXPECT_EQ(Logprobs(StepAll(**second, {subject}), 0, 40), expected) << "the weights stay";
  EXPECT_EQ(go_on(**second), next);
}

TEST_F(TransformerTest, RefusesACacheThatHoldsNoBlock) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 7);

  const auto model = nn::LoadModel(checkpoint, {.kv_cache_bytes = 100});

  ASSERT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), testing::HasSubstr("100 bytes"));
}

}  // namespace
}  // namespace peerage
