#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/experts/expert_control.h"
#include "tests/support/expert_loop.h"
#include "tests/support/forward_pass_fixture.h"
#include "tests/support/model_checks.h"
#include "tests/support/sequence_feed.h"

// What every device must do that takes what requests ask of routers
// (model/experts/expert_control.h), beside forward_pass_suite.h and run like it.
namespace peerage {

inline const FedSequence& ControlledSubject() {
  static const auto& subject = *new FedSequence{Prompt(41, 13), {9, 4}};
  return subject;
}

inline std::vector<NamedModel> ControlledModels() {
  std::vector<NamedModel> models = OddModels();
  models.push_back(OddMoePlusPlus());
  return models;
}

// The experts of a layer that were picked, those picked most often first.
inline std::vector<uint32_t> MostPicked(const std::vector<uint32_t>& ids) {
  std::map<uint32_t, int> counts;
  for (const uint32_t id : ids) --counts[id];
  std::vector<std::pair<int, uint32_t>> order;
  for (const auto& [id, count] : counts) order.push_back({count, id});
  std::sort(order.begin(), order.end());
  std::vector<uint32_t> experts;
  for (const auto& [count, id] : order) experts.push_back(id);
  return experts;
}

// Masks the experts that were picked most, biases those that come then, and lowers top_k in every
// second layer.
inline ExpertControl Ablation(const std::vector<ExpertLayer>& layers, const FeedResult& fed) {
  ExpertControl control;
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::vector<uint32_t> picked = MostPicked(fed.ids[l]);
    const size_t masks = std::min<size_t>(picked.size() - 1, layers[l].is_mixture() ? 1 : 9);
    LayerControl& layer = control.layers.emplace_back();
    layer.masked_ids.assign(picked.begin(), picked.begin() + masks);
    std::sort(layer.masked_ids.begin(), layer.masked_ids.end());
    layer.biases.push_back({picked[masks], -1.5f});
    if (masks + 1 < picked.size()) layer.biases.push_back({picked[masks + 1], 0.75f});
    std::sort(layer.biases.begin(), layer.biases.end(),
              [](const ExpertBias& a, const ExpertBias& b) { return a.id < b.id; });
    if (l % 2 == 1) layer.top_k = (layers[l].top_k + 1) / 2;
  }
  return control;
}

inline ExpertControl Replay(const std::vector<ExpertLayer>& layers, const FeedResult& fed) {
  ExpertControl control;
  for (size_t l = 0; l < layers.size(); ++l) {
    const size_t tokens = fed.ids[l].size() / layers[l].picks_per_token();
    control.layers.push_back({.forced = {.tokens = static_cast<uint32_t>(tokens),
                                         .ids = fed.ids[l],
                                         .weights = fed.weights[l]}});
  }
  return control;
}

inline FedSequence Under(const ExpertControl& control, FedSequence sequence) {
  sequence.control = &control;
  return sequence;
}

// What is left out, and what is moved, is so for the reference, too; and is no longer picked.
TEST_P(ForwardPassSuite, ControlledRoutersChooseWhatTheReferenceChooses) {
  ForEachModel(
      [](const MemoryCheckpoint& checkpoint) {
        const auto model = LoadModel(checkpoint);
        const std::vector<ExpertLayer>& layers = model->description().expert_layers;
        const FeedResult plain = Feed(*model, {ControlledSubject()});
        const ExpertControl control = Ablation(layers, plain);
        const FeedResult fed = Feed(*model, {Under(control, ControlledSubject())});
        for (size_t l = 0; l < layers.size(); ++l) {
          for (const uint32_t id : control.layers[l].masked_ids) {
            ASSERT_THAT(fed.ids[l], testing::Not(testing::Contains(id))) << "expert layer " << l;
          }
        }
        const std::vector<double> expected = ExpertLoopLogprobs(
            checkpoint, ControlledSubject().tokens, LoopRounding::kNone, control);
        ASSERT_EQ(fed.logprobs[0].size(), expected.size());
        double moved = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(fed.logprobs[0][i], expected[i], GetParam().tolerance) << i;
          moved = std::max<double>(moved, std::fabs(fed.logprobs[0][i] - plain.logprobs[0][i]));
        }
        EXPECT_EQ(moved > 100 * GetParam().tolerance, !layers.empty()) << moved;
      },
      ControlledModels());
}

TEST_P(ForwardPassSuite, ForcingWhatWasPickedChangesNothing) {
  ForEachModel(
      [](const MemoryCheckpoint& checkpoint) {
        const auto model = LoadModel(checkpoint);
        const FeedResult plain = Feed(*model, {ControlledSubject()});
        ExpertControl control = Replay(model->description().expert_layers, plain);
        for (const char* weights : {"given", "the router's own"}) {
          SCOPED_TRACE(weights);
          const FeedResult fed = Feed(*model, {Under(control, ControlledSubject())});
          ExpectLogprobsNear(fed.logprobs[0], plain.logprobs[0], Invariance());
          EXPECT_EQ(fed.ids, plain.ids);
          for (LayerControl& layer : control.layers) layer.forced.weights.clear();
        }
      },
      ControlledModels());
}

// A part of another run's picks, with holes, by their own weights and the router's.
TEST_P(ForwardPassSuite, ForcedPicksAreWhatTheReferenceIsForcedTo) {
  ForEachModel(
      [](const MemoryCheckpoint& checkpoint) {
        const auto model = LoadModel(checkpoint);
        const std::vector<ExpertLayer>& layers = model->description().expert_layers;
        const FedSequence other{Prompt(29, 7), {1}};
        ExpertControl control = Replay(layers, Feed(*model, {other}));
        for (size_t l = 0; l < layers.size(); ++l) {
          ForcedPicks& forced = control.layers[l].forced;
          forced.first_token = 5;
          const size_t top_k = layers[l].top_k;
          for (size_t last = top_k - 1; last < forced.ids.size(); last += 3 * top_k) {
            forced.ids[last] = kNoExpert;
            forced.weights[last] = 0;
          }
        }
        for (const char* weights : {"given", "the router's own"}) {
          SCOPED_TRACE(weights);
          const FeedResult fed = Feed(*model, {Under(control, ControlledSubject())});
          const std::vector<double> expected = ExpertLoopLogprobs(
              checkpoint, ControlledSubject().tokens, LoopRounding::kNone, control);
          for (size_t i = 0; i < expected.size(); ++i) {
            ASSERT_NEAR(fed.logprobs[0][i], expected[i], GetParam().tolerance) << i;
          }
          for (LayerControl& layer : control.layers) layer.forced.weights.clear();
        }
      },
      ControlledModels());
}

TEST_P(ForwardPassSuite, MaskingWhatIsNotPickedChangesNoBit) {
  ForEachModel(
      [](const MemoryCheckpoint& checkpoint) {
        const auto model = LoadModel(checkpoint);
        const std::vector<ExpertLayer>& layers = model->description().expert_layers;
        const FeedResult plain = Feed(*model, {ControlledSubject()});
        ExpertControl control;
        for (size_t l = 0; l < layers.size(); ++l) {
          LayerControl& layer = control.layers.emplace_back();
          const std::vector<uint32_t> picked = MostPicked(plain.ids[l]);
          for (uint32_t id = 0; id < layers[l].num_experts; ++id) {
            if (std::count(picked.begin(), picked.end(), id) == 0) layer.masked_ids.push_back(id);
          }
        }
        const FeedResult fed = Feed(*model, {Under(control, ControlledSubject())});
        EXPECT_EQ(fed.logprobs, plain.logprobs);
        EXPECT_EQ(fed.ids, plain.ids);
        EXPECT_EQ(fed.weights, plain.weights);
      },
      ControlledModels());
}

// Whoever asks something is alone with it, and with what it gets.
TEST_P(ForwardPassSuite, ControlledSequencesAndTheirNeighboursKeepTheirBits) {
  ForEachModel(
      [](const MemoryCheckpoint& checkpoint) {
        const auto alone = LoadModel(checkpoint);
        const std::vector<ExpertLayer>& layers = alone->description().expert_layers;
        const FedSequence free{Prompt(64, 13), {7, 2}}, subject = ControlledSubject();
        const FedSequence forced{Prompt(23, 3), {5}};
        const ExpertControl ablation = Ablation(layers, Feed(*alone, {subject}));
        ExpertControl replay = Replay(layers, Feed(*alone, {{Prompt(23, 5), {5}}}));
        const std::vector<FedSequence> crowd = {
            Under(replay, forced), free, Under(ablation, subject), {Prompt(2, 1), {1}}};
        std::vector<std::vector<float>> expected;
        for (const FedSequence& sequence : crowd) {
          expected.push_back(Feed(*alone, {sequence}).logprobs[0]);
        }
        for (const int threads : GetParam().threads) {
          const auto model = LoadModel(checkpoint, {.threads = threads});
          for (const size_t chunk : {1, 7, 1000}) {
            SCOPED_TRACE(testing::Message() << threads << " threads, chunks of " << chunk);
            const FeedResult fed = Feed(*model, crowd, chunk);
            for (size_t s = 0; s < crowd.size(); ++s) {
              ExpectLogprobsNear(fed.logprobs[s], expected[s], Invariance());
            }
          }
        }
      },
      ControlledModels());
}

TEST_P(ForwardPassSuite, UsageCountsWhatWasReallyPicked) {
  ForEachModel(
      [](const MemoryCheckpoint& checkpoint) {
        const auto model = LoadModel(checkpoint, {.threads = 2});
        const FeedResult plain = Feed(*model, {ControlledSubject()});
        const ExpertControl control = Ablation(model->description().expert_layers, plain);
        model->ClearUsage();
        ExpectUsageIsWhatTracesSay(*model, Feed(*model, {Under(control, ControlledSubject())}, 33));
      },
      ControlledModels());
}

}  // namespace peerage
