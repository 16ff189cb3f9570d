#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/expert_loop.h"
#include "tests/support/forward_pass_fixture.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/model_checks.h"
#include "tests/support/odd_models.h"
#include "tests/support/sequence_feed.h"

// What every device must do, seen through nn::ForwardPass alone: models of every kind of layer
// against a forward pass in double, and what no layer's arithmetic says: invariance, usage, copies,
// faults and memory.
//
// A device runs it in a test program of its own, whose one source includes this header:
//
//   INSTANTIATE_TEST_SUITE_P(
//       Cpu, ForwardPassSuite,
//       testing::Values(DeviceUnderTest{.name = "Cpu", .load = nn::cpu::LoadForwardPass, ...}),
//       DeviceName);
namespace peerage {

TEST_P(ForwardPassSuite, ComputesWhatTheReferenceComputes) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const auto model = LoadModel(checkpoint);
    const std::vector<FedSequence> sequences = {
        {Prompt(70, 11), {7, 2, 5}}, {Prompt(2, 5), {0}}, {Prompt(33, 7), {1, 3}}};
    const FeedResult fed = Feed(*model, sequences);
    for (size_t s = 0; s < sequences.size(); ++s) {
      EXPECT_TRUE(fed.status[s].ok());
      const std::vector<double> expected = ExpertLoopLogprobs(checkpoint, sequences[s].tokens);
      ASSERT_EQ(fed.logprobs[s].size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(fed.logprobs[s][i], expected[i], GetParam().tolerance) << s << ", " << i;
      }
    }
  });
}

// Of every layer, of tokens of which nothing else is asked.
TEST_P(ForwardPassSuite, ReportsTheResidualStreamBehindEveryLayer) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const auto model = LoadModel(checkpoint);
    const std::vector<FedSequence> sequences = {{Prompt(70, 11), {7, 2, 5}},
                                                {Prompt(33, 7), {1, 3}}};
    const std::vector<int32_t> layers = AllHiddenLayers(checkpoint);
    const FedHiddenStates states = FeedForHidden(*model, sequences, layers, 23);
    const size_t width = checkpoint.config().hidden_size;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const auto expected = HiddenStatesLoop(checkpoint, sequences[s].tokens);
      ASSERT_EQ(expected.size(), layers.size());
      ASSERT_EQ(states[s].size(), sequences[s].tokens.size() - 1);
      for (size_t t = 0; t < states[s].size(); ++t) {
        ASSERT_EQ(states[s][t].size(), layers.size() * width);
        for (size_t i = 0; i < states[s][t].size(); ++i) {
          ASSERT_NEAR(states[s][t][i], expected[i / width][t][i % width], GetParam().tolerance)
              << s << ", " << t << ", layer " << i / width;
        }
      }
    }
  });
}

TEST_P(ForwardPassSuite, HiddenStatesDoNotDependOnNeighboursChunksOrThreads) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const FedSequence subject{Prompt(41, 13), {9, 4}};
    const std::vector<FedSequence> crowd = {{Prompt(9, 5), {0}}, subject, {Prompt(64, 13), {7, 2}}};
    const std::vector<int32_t> layers = AllHiddenLayers(checkpoint);
    const auto alone = FeedForHidden(*LoadModel(checkpoint), {subject}, layers)[0];
    for (const int threads : GetParam().threads) {
      const auto model = LoadModel(checkpoint, {.threads = threads});
      const auto together = FeedForHidden(*model, crowd, layers, 7)[1];
      ASSERT_EQ(together.size(), alone.size());
      for (size_t t = 0; t < alone.size(); ++t) {
        SCOPED_TRACE(testing::Message() << threads << " threads, token " << t);
        ExpectLogprobsNear(together[t], alone[t], Invariance());
      }
    }
  });
}

TEST_P(ForwardPassSuite, HiddenStatesChangeNothingElse) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const auto model = LoadModel(checkpoint);
    const std::vector<TokenId> tokens = Prompt(5, 3);
    const std::vector<BlockId> blocks = {2};
    const Chunk chunk{.tokens = tokens, .blocks = blocks};
    const OutputRow row{.row = 4, .sample = true, .alternatives = 3};
    const std::vector<HiddenRow> hidden = {{.row = 4, .layer = 1}, {.row = 0, .layer = 0}};
    std::vector<TokenAlternative> without;
    for (const bool asks : {false, true}) {
      model->Open(0, {.sampling = {.temperature = 0}});
      const auto output = model->Step(
          {.chunks = {&chunk, 1},
           .rows = {&row, 1},
           .hidden_rows = asks ? absl::MakeConstSpan(hidden) : absl::Span<const HiddenRow>()});
      ASSERT_TRUE(output.ok()) << output.status();
      EXPECT_EQ(output->hidden.size(), asks ? 2u : 0u);
      const auto& alternatives = output->rows[0].alternatives;
      if (!asks) without.assign(alternatives.begin(), alternatives.end());
      for (size_t i = 0; i < without.size(); ++i) {
        EXPECT_EQ(alternatives[i].token, without[i].token);
        EXPECT_EQ(alternatives[i].logprob, without[i].logprob);
      }
      model->Close(0);
    }
  });
}

TEST_P(ForwardPassSuite, ASequencesAnswerDoesNotDependOnNeighboursChunksOrThreads) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const FedSequence subject{Prompt(41, 13), {9, 4}};
    const std::vector<FedSequence> crowd = {
        {Prompt(9, 5), {0}}, subject, {Prompt(2, 1), {1}}, {Prompt(64, 13), {7, 2}}};
    const std::vector<float> alone = Feed(*LoadModel(checkpoint), {subject}).logprobs[0];
    for (const int threads : GetParam().threads) {
      const auto model = LoadModel(checkpoint, {.threads = threads});
      for (const size_t chunk : {1, 7, 1000}) {
        SCOPED_TRACE(testing::Message() << threads << " threads, chunks of " << chunk);
        ExpectLogprobsNear(Feed(*model, {subject}, chunk).logprobs[0], alone, Invariance());
        ExpectLogprobsNear(Feed(*model, crowd, chunk).logprobs[1], alone, Invariance());
      }
    }
  });
}

TEST_P(ForwardPassSuite, UsageIsWhatTracesSayAndCanBeCleared) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const auto model = LoadModel(checkpoint, {.threads = 2});
    const std::vector<FedSequence> sequences = {{Prompt(120, 11), {0, 1, 2, 3}},
                                                {Prompt(31, 7), {13}}};
    ExpectUsageIsWhatTracesSay(*model, Feed(*model, sequences, 33));
    model->ClearUsage();
    const auto& layers = model->description().expert_layers;
    for (size_t l = 0; l < layers.size(); ++l) {
      std::vector<ExpertCount> counts(layers[l].num_experts, ExpertCount{.selections = 1});
      EXPECT_EQ(model->ReadUsage(static_cast<int>(l), absl::MakeSpan(counts)).tokens, 0u);
      for (const ExpertCount& count : counts) ASSERT_EQ(count.selections, 0u);
    }
    ExpectUsageIsWhatTracesSay(*model, Feed(*model, {sequences[1]}));
  });
}

TEST_P(ForwardPassSuite, WhatIsSwitchedOffIsNotReportedAndChangesNothing) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const auto silent = LoadModel(checkpoint, {.count_experts = false, .trace_experts = false});
    ExpectWhatIsSwitchedOffIsNotReported(*silent, *LoadModel(checkpoint), Invariance());
  });
}

TEST_P(ForwardPassSuite, CopiedBlocksContinueTheirOrigin) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    ExpectAForkContinuesItsOriginsSequence(*LoadModel(checkpoint), Invariance());
  });
}

// The head is its own, so that a NaN in one token's embedding is in nobody else's logits.
TEST_P(ForwardPassSuite, ANaNFailsItsOwnSequenceAlone) {
  for (auto [name, config] : OddModels()) {
    SCOPED_TRACE(name);
    config.tied_embeddings = false;
    MemoryCheckpoint checkpoint(config, 31);
    constexpr TokenId kPoisoned = 66;
    checkpoint.values("model.embed_tokens.weight")[kPoisoned * config.hidden_size + 5] =
        std::numeric_limits<float>::quiet_NaN();
    const auto model = LoadModel(checkpoint, {.threads = 2});
    ExpectATokenFailsItsOwnSequenceAlone(*model, kPoisoned, Invariance());
  }
}

TEST_P(ForwardPassSuite, ANaNInARouterIsRefusedByName) {
  for (const auto& [model, tensor] : {std::pair{2, "model.layers.0.ffn.peer.sub_keys"},
                                      {2, "model.layers.1.ffn.peer.query_norm.running_mean"},
                                      {2, "model.layers.2.ffn.peer.router.bias"},
                                      {3, "model.layers.1.ffn.pkm.query_norm.weight"},
                                      {4, "model.layers.0.attention.router.weight"},
                                      {4, "model.layers.1.ffn.mixture.router.weight"}}) {
    MemoryCheckpoint checkpoint(OddModels()[model].config, 1);
    checkpoint.values(tensor).back() = std::numeric_limits<float>::quiet_NaN();
    const auto pass = LoadPass(checkpoint, {});
    ASSERT_EQ(pass.status().code(), absl::StatusCode::kInvalidArgument) << tensor;
    EXPECT_THAT(std::string(pass.status().message()), testing::HasSubstr(tensor));
  }
}

// The seed decides, and nothing else of a step; a greedy draw is the first alternative.
TEST_P(ForwardPassSuite, DrawsAreOfTheSlotsStream) {
  const MemoryCheckpoint checkpoint(OddModels()[4].config, 3);
  const auto model = LoadModel(checkpoint);
  const std::vector<TokenId> prompt = Prompt(7, 3);
  std::vector<std::vector<BlockId>> blocks;
  std::vector<Chunk> chunks;
  std::vector<OutputRow> rows;
  for (SlotId slot = 0; slot < 5; ++slot) blocks.push_back({slot});
  for (SlotId slot = 0; slot < 5; ++slot) {
    chunks.push_back({.slot = slot, .tokens = prompt, .blocks = blocks[slot]});
    rows.push_back({.chunk = slot, .row = 6, .sample = true, .alternatives = 1});
  }
  std::vector<std::vector<TokenId>> drawn(5);
  for (SlotId slot = 0; slot < 5; ++slot) {
    model->Open(slot,
                {.sampling = {.temperature = slot == 4 ? 0.0f : 1.0f, .seed = slot < 3 ? 7u : 8u},
                 .candidate = slot == 2 ? 1u : 0u});
  }
  for (int i = 0; i < 13; ++i) {
    const auto output = model->Step({.chunks = chunks, .rows = rows});
    ASSERT_TRUE(output.ok()) << output.status();
    for (SlotId slot = 0; slot < 5; ++slot) {
      drawn[slot].push_back(output->rows[slot].tokens[0].token);
    }
    EXPECT_EQ(drawn[4].back(), output->rows[4].alternatives[0].token);
    EXPECT_EQ(output->rows[4].tokens[0].rank, 1u);
  }
  EXPECT_EQ(drawn[0], drawn[1]);
  EXPECT_NE(drawn[0], drawn[2]);  // another candidate
  EXPECT_NE(drawn[0], drawn[3]);  // another seed
}

TEST_P(ForwardPassSuite, MemoryIsWhatWasPlanned) {
  static constexpr int64_t kKvBytes = 1 << 18;  // less than all slots can use
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    const nn::ModelPlan plan = nn::PlanModel(checkpoint.config());
    const auto pass = LoadPass(checkpoint, {.kv_cache_bytes = kKvBytes});
    ASSERT_TRUE(pass.ok()) << pass.status();
    const nn::DeviceFacts& facts = (*pass)->facts();
    EXPECT_GT(facts.kv_block_tokens, 0);
    EXPECT_GT(facts.weights_bytes, 0u);
    EXPECT_FALSE(facts.device.empty());
    const auto block = static_cast<int64_t>(facts.kv_block_bytes);
    const int64_t bytes = block * facts.num_kv_blocks;
    EXPECT_LE(bytes, kKvBytes);
    EXPECT_GT(bytes + block, kKvBytes);
    if (!GetParam().plan_memory) return;
    const auto needs =
        GetParam().plan_memory(plan, checkpoint, WithRoom({.kv_cache_bytes = kKvBytes}));
    ASSERT_TRUE(needs.ok()) << needs.status();
    EXPECT_EQ(needs->weights_bytes, facts.weights_bytes);
    EXPECT_EQ(needs->kv_block_bytes, facts.kv_block_bytes);
    EXPECT_EQ(needs->kv_block_tokens, facts.kv_block_tokens);
    EXPECT_GT(needs->workspace_bytes, 0u);
    EXPECT_EQ(needs->picks_bytes > 0, !plan.ExpertLayers().empty());
    EXPECT_EQ(needs->counters_bytes > 0, !plan.ExpertLayers().empty());
  });
}

// More than all slots can use is not taken, less than a block is refused.
TEST_P(ForwardPassSuite, TheCacheHoldsAsManyBlocksAsSlotsCanUse) {
  const MemoryCheckpoint checkpoint(OddConfig(), 5);
  const auto large = LoadPass(checkpoint, {.kv_cache_bytes = 1 << 30});
  ASSERT_TRUE(large.ok()) << large.status();
  const nn::DeviceFacts& facts = (*large)->facts();
  const int positions = checkpoint.config().max_positions;
  EXPECT_EQ(facts.num_kv_blocks,
            kSlots * ((positions + facts.kv_block_tokens - 1) / facts.kv_block_tokens));

  const auto none =
      LoadPass(checkpoint, {.kv_cache_bytes = static_cast<int64_t>(facts.kv_block_bytes) - 1});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(ForwardPassSuite, LoadingSaysHowFarItIs) {
  ForEachModel([](const MemoryCheckpoint& checkpoint) {
    ExpectLoadingSaysHowFarItIs(
        checkpoint, [&](const nn::LoadOptions& options) { LoadModel(checkpoint, options); });
  });
}

}  // namespace peerage
