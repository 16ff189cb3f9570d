#include "tests/support/model_checks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/sequence_feed.h"

namespace peerage {

void ExpectLogprobsNear(const std::vector<float>& actual, const std::vector<float>& expected,
                        Tolerance tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    // Equal bits are a difference of 0, and NaN is near nothing.
    ASSERT_LE(std::fabs(double{actual[i]} - expected[i]), tolerance) << i;
  }
}

void ExpectANaNFailsItsOwnSequenceAlone(ModelConfig config, uint32_t seed,
                                        nn::LoadOptions options) {
  config.tied_embeddings = false;
  MemoryCheckpoint checkpoint(std::move(config), seed);
  constexpr TokenId kPoisoned = 66;
  checkpoint.values("model.embed_tokens.weight")[kPoisoned * 32 + 5] =
      std::numeric_limits<float>::quiet_NaN();
  ExpectATokenFailsItsOwnSequenceAlone(*LoadSmall(checkpoint, std::move(options)), kPoisoned, 0);
}

void ExpectATokenFailsItsOwnSequenceAlone(LanguageModel& model, TokenId token,
                                          Tolerance tolerance) {
  const FedSequence healthy{Prompt(8, 5), {0}};
  FedSequence poisoned{Prompt(8, 7), {1}};
  poisoned.tokens[3] = token;
  const FeedResult alone = Feed(model, {healthy});

  for (const size_t place : {0, 1}) {
    const FeedResult fed =
        place == 0 ? Feed(model, {healthy, poisoned}) : Feed(model, {poisoned, healthy});

    EXPECT_TRUE(fed.status[place].ok());
    ExpectLogprobsNear(fed.logprobs[place], alone.logprobs[0], tolerance);
    EXPECT_EQ(fed.status[1 - place].code(), absl::StatusCode::kInternal);
    for (size_t l = 0; l < fed.ids.size(); ++l) {
      for (const uint32_t id : fed.ids[l]) {
        ASSERT_LT(id, model.description().expert_layers[l].num_experts);
      }
    }
  }
}

void ExpectAForkContinuesItsOriginsSequence(const Checkpoint& checkpoint) {
  ExpectAForkContinuesItsOriginsSequence(*LoadSmall(checkpoint), 0);
}

void ExpectAForkContinuesItsOriginsSequence(LanguageModel& model, Tolerance tolerance) {
  const FedSequence whole{Prompt(50, 11), {0, 1}};
  const std::vector<float> expected = Feed(model, {whole}).logprobs[0];

  // 40 tokens in blocks 4 and 5; the fork shares block 4 and gets a copy of block 5 as 6.
  const std::vector<BlockId> origin = {4, 5}, fork = {4, 6};
  const absl::Span<const TokenId> tokens = whole.tokens;
  const Chunk first{.slot = 0, .tokens = tokens.first(40), .blocks = origin};
  ASSERT_TRUE(model.Step({.chunks = {&first, 1}}).ok());
  model.Open(1, {});
  const BlockCopy copy{5, 6};
  const Chunk rest{
      .slot = 1, .tokens = tokens.subspan(40, 9), .first_position = 40, .blocks = fork};
  std::vector<OutputRow> rows;
  for (int i = 0; i < 9; ++i) {
    rows.push_back({.chunk = 0, .row = i, .targets = {&whole.tokens[41 + i], 1}});
  }
  const auto output = model.Step({.copies = {&copy, 1}, .chunks = {&rest, 1}, .rows = rows});

  ASSERT_TRUE(output.ok()) << output.status();
  std::vector<float> actual;
  for (const RowOutput& row : output->rows) actual.push_back(row.tokens[0].logprob);
  ExpectLogprobsNear(actual, {expected.begin() + 40, expected.end()}, tolerance);
}

void ExpectThePlanIsWhatLoadingTakes(const Checkpoint& checkpoint, const nn::LoadOptions& options) {
  const auto needs = nn::PlanMemory(checkpoint, options);
  ASSERT_TRUE(needs.ok()) << needs.status();
  EXPECT_EQ(needs->weights_bytes, LoadSmall(checkpoint, options)->description().weights_bytes);
}

void ExpectWhatIsSwitchedOffIsNotReported(const Checkpoint& checkpoint) {
  const auto silent = LoadSmall(checkpoint, {.count_experts = false, .trace_experts = false});
  ExpectWhatIsSwitchedOffIsNotReported(*silent, *LoadSmall(checkpoint), 0);
}

void ExpectWhatIsSwitchedOffIsNotReported(LanguageModel& silent, LanguageModel& reporting,
                                          Tolerance tolerance) {
  const std::vector<FedSequence> sequences = {{Prompt(20, 11), {0, 1}}};

  const FeedResult answer = Feed(silent, sequences);

  ASSERT_EQ(answer.ids.size(), reporting.description().expert_layers.size());
  for (size_t layer = 0; layer < answer.ids.size(); ++layer) {
    EXPECT_TRUE(answer.ids[layer].empty());
    EXPECT_EQ(silent.ReadUsage(static_cast<int>(layer), {}).tokens, 0u);
  }
  ExpectLogprobsNear(answer.logprobs[0], Feed(reporting, sequences).logprobs[0], tolerance);
}

void ExpectLoadingSaysHowFarItIs(const Checkpoint& checkpoint) {
  ExpectLoadingSaysHowFarItIs(
      checkpoint, [&](const nn::LoadOptions& options) { LoadSmall(checkpoint, options); });
}

void ExpectLoadingSaysHowFarItIs(const Checkpoint& checkpoint,
                                 const std::function<void(const nn::LoadOptions&)>& load) {
  uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) total += tensor.bytes;
  nn::LoadProgress last;
  load({.threads = 2, .progress = [&](const nn::LoadProgress& progress) {
          EXPECT_GT(progress.loaded, last.loaded);
          last = progress;
        }});
  EXPECT_EQ(last.loaded, total);
  EXPECT_EQ(last.total, total);
}

}  // namespace peerage
