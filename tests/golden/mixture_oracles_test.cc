// What mixtures of attention and feed-forward experts must equal (numbers O1 to O11 as in the
// project's notes on Branch-Attend-Mix), in float32, as a server's engine computes it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/engine.h"
#include "tests/support/expert_loop.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/mixture_models.h"
#include "tests/support/recording_sink.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

using ::testing::Each;

// Rounding of float32 in these models; parts that differ move log-probabilities by a hundred times
// as much.
constexpr double kRounding = 2e-4;

const std::vector<TokenId>& Tokens() {
  static const auto& tokens = *new std::vector<TokenId>(Prompt(41, 11));
  return tokens;
}

struct Answer {
  std::vector<float> logprobs;             // of every token but the first
  std::vector<std::vector<uint32_t>> ids;  // [expert layers], of every token but the last
  std::vector<std::vector<float>> weights;
};

template <typename T>
void Append(absl::Span<const T> values, std::vector<T>& all) {
  all.insert(all.end(), values.begin(), values.end());
}

// Scores a sequence by an engine, a few tokens in each step.
Answer Score(const MemoryCheckpoint& checkpoint, const std::vector<TokenId>& tokens) {
  const FakeTokenizer tokenizer;
  EngineObserver observer;
  Engine engine({.max_batch_tokens = 16}, LoadSmall(checkpoint), &tokenizer, &Clock::Real(),
                &observer);
  const auto sink = std::make_shared<RecordingSink>();
  const auto handle =
      engine.Submit(ScoreRequest{.context = {tokens.front()},
                                 .continuations = {{tokens.begin() + 1, tokens.end()}},
                                 .trace = ExpertTraceLevel::kFull},
                    sink);
  EXPECT_TRUE(handle.ok()) << handle.status();
  EXPECT_TRUE(sink->WaitDone().ok());

  const RecordingSink::Record record = sink->record();
  Answer answer;
  for (const TokenLogprob& token : record.scores.at(0)) {
    answer.logprobs.push_back(token.logprob.value());
  }
  for (const ExpertTrace& trace : {record.prompt_trace.value(), record.score_traces.at(0)}) {
    answer.ids.resize(trace.layers.size());
    answer.weights.resize(trace.layers.size());
    for (size_t i = 0; i < trace.layers.size(); ++i) {
      Append(trace.layers[i].ids(), answer.ids[i]);
      Append(trace.layers[i].weights(), answer.weights[i]);
    }
  }
  return answer;
}

Answer ScoreTokens(const MemoryCheckpoint& checkpoint) { return Score(checkpoint, Tokens()); }

std::vector<float> LogprobsOf(const MemoryCheckpoint& checkpoint) {
  return ScoreTokens(checkpoint).logprobs;
}

template <typename T>
double LargestDifference(const std::vector<float>& a, const std::vector<T>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(double{a[i]} - b[i]));
  return most;
}

// The dense model of the same sizes and block, and a mixture whose experts are all its layers.
struct DenseAndCopies {
  DenseAndCopies(const ModelConfig& config, uint32_t seed)
      : dense(DenseOf(config), seed), mixture(config, seed + 500) {
    CopyCommon(dense, mixture);
    for (int e = 0; e < 8; ++e) CopyExpert(dense, e, mixture);
  }

  static ModelConfig DenseOf(ModelConfig config) {
    for (LayerConfig& layer : config.layers) layer = SmallConfig().layers[0];
    return config;
  }

  MemoryCheckpoint dense;
  MemoryCheckpoint mixture;
};

std::vector<AttentionConfig> EverySoftAttention(int experts) {
  return {SoftAttention(experts, MixtureKv::kExpert), SoftAttention(experts, MixtureKv::kShared)};
}

TEST(MixtureOraclesTest, O1IdenticalAttentionExpertsAreOneWhateverTheRouterSays) {
  const FfnConfig dense_ffn = SmallConfig().layers[0].ffn[0];
  for (const int experts : {1, 2, 3, 5}) {
    for (const AttentionConfig& attention : EverySoftAttention(experts)) {
      for (const bool parallel : {false, true}) {
        ModelConfig config = MixtureModel(attention, dense_ffn);
        config.parallel_block = parallel;
        const DenseAndCopies models(config, 1);
        EXPECT_LT(LargestDifference(LogprobsOf(models.mixture), LogprobsOf(models.dense)),
                  kRounding)
            << experts << " experts, parallel " << parallel;
      }
    }
  }
}

TEST(MixtureOraclesTest, O2aIdenticalFfnExpertsAreOneWithNormalisedGates) {
  for (const bool parallel : {false, true}) {
    for (const int top_k : {1, 2, 3, 5}) {
      ModelConfig config = MixtureModel({}, MixtureFfnPart(5, top_k, true));
      config.parallel_block = parallel;
      const DenseAndCopies models(config, 2);
      const std::vector<float> dense = LogprobsOf(models.dense);
      const std::vector<float> mixture = LogprobsOf(models.mixture);
      EXPECT_LT(LargestDifference(mixture, dense), kRounding) << top_k;
      EXPECT_EQ(mixture == dense, top_k == 1);  // to the bit where the gate is 1.0
    }
  }
}

TEST(MixtureOraclesTest, O2bIdenticalFfnExpertsWithRawGatesAreTheFfnTimesTheirSum) {
  for (const int top_k : {1, 2}) {
    DenseAndCopies models(MixtureModel({}, MixtureFfnPart(4, top_k, false)), 3);
    double furthest = 0;
    for (const TokenId token : {3u, 17u, 40u}) {
      const std::vector<TokenId> pair = {token, 9};
      const Answer answer = Score(models.mixture, pair);
      DenseAndCopies scaled = models;
      for (size_t layer = 0; layer < answer.weights.size(); ++layer) {
        const std::vector<float>& gates = answer.weights[layer];
        const float sum = std::accumulate(gates.begin(), gates.end(), 0.0f);
        EXPECT_LT(sum, 0.99f);
        for (float& weight : scaled.dense.values("model.layers." + std::to_string(layer) +
                                                 ".ffn.dense.down_proj.weight")) {
          weight *= sum;
        }
      }
      const std::vector<float> expected = Score(scaled.dense, pair).logprobs;
      const std::vector<float> dense = Score(models.dense, pair).logprobs;
      EXPECT_LT(LargestDifference(answer.logprobs, expected), kRounding) << token;
      furthest = std::max(furthest, LargestDifference(answer.logprobs, dense));
    }
    EXPECT_GT(furthest, 100 * kRounding);
  }
}

TEST(MixtureOraclesTest, O2cRawGatesOfAllExpertsSumToOne) {
  for (const int experts : {1, 2, 4}) {
    const DenseAndCopies models(MixtureModel({}, MixtureFfnPart(experts, experts, false)), 4);
    EXPECT_LT(LargestDifference(LogprobsOf(models.mixture), LogprobsOf(models.dense)), kRounding)
        << experts;
  }
}

// O3 and O4, and every combination of what a mixture may be: the one wide attention and the
// experts' grouped layers against a loop over experts.
TEST(MixtureOraclesTest, O3AndO4TheFusedFormIsTheLoopOverExperts) {
  struct Heads {
    int all;
    int kv;
  };
  uint32_t seed = 10;
  for (const Heads heads : {Heads{4, 2}, Heads{4, 4}, Heads{4, 1}, Heads{6, 3}}) {
    for (const int experts : {2, 3}) {
      for (const AttentionConfig& soft : EverySoftAttention(experts)) {
        for (const AttentionConfig& attention :
             {soft, TopKAttention(soft, 1, false), TopKAttention(soft, 2, true)}) {
          const bool parallel = seed % 2 == 0;
          ModelConfig config = MixtureModel(attention, MixtureFfnPart(4, 1 + seed % 4, parallel));
          config.num_heads = heads.all;
          config.num_kv_heads = heads.kv;
          config.parallel_block = parallel;
          config.rope_interleaved = seed % 3 == 0;
          config.norm_type = seed % 5 < 2 ? NormType::kLayerNorm : NormType::kRmsNorm;
          const MemoryCheckpoint checkpoint(config, 100 * seed++);
          EXPECT_LT(
              LargestDifference(LogprobsOf(checkpoint), ExpertLoopLogprobs(checkpoint, Tokens())),
              kRounding)
              << "model " << seed - 1 << ": " << heads.all << " heads on " << heads.kv << ", "
              << experts << " experts, top " << attention.mixture.top_k;
        }
      }
    }
  }
}

TEST(MixtureOraclesTest, O5SharedKeysAndValuesAreExpertsWithTheSameOnes) {
  const MixtureFfnConfig ffn = MixtureFfnPart(2, 1, false);
  const MemoryCheckpoint shared(MixtureModel(SoftAttention(3, MixtureKv::kShared), ffn), 5);
  MemoryCheckpoint own(MixtureModel(SoftAttention(3, MixtureKv::kExpert), ffn), 6);
  CopyCommon(shared, own);
  const double before = LargestDifference(LogprobsOf(own), LogprobsOf(shared));
  for (int e = 0; e < 3; ++e) CopyExpert(shared, e, own);  // its k_proj and v_proj

  EXPECT_GT(before, 100 * kRounding);
  EXPECT_LT(LargestDifference(LogprobsOf(own), LogprobsOf(shared)), kRounding);
}

// Makes expert `from` of a model, with its row of the router, expert `to` of another.
void CopyExpertOf(const MemoryCheckpoint& source, int from, int to, MemoryCheckpoint& target) {
  const std::string its = ".experts." + std::to_string(from) + ".";
  const std::string mine = ".experts." + std::to_string(to) + ".";
  const size_t width = source.config().hidden_size;
  for (const TensorInfo& tensor : source.tensors()) {
    std::string name = tensor.name;
    if (name.find("router") != std::string::npos) {
      std::copy_n(source.values(name).begin() + from * width, width,
                  target.values(name).begin() + to * width);
    } else if (const size_t at = name.find(its); at != std::string::npos) {
      target.values(name.replace(at, its.size(), mine)) = source.values(tensor.name);
    }
  }
}

TEST(MixtureOraclesTest, O6TheOrderOfExpertsDoesNotMatter) {
  const std::vector<int> order = {2, 0, 1};
  for (const AttentionConfig& attention : EverySoftAttention(3)) {
    const MemoryCheckpoint checkpoint(MixtureModel(attention, MixtureFfnPart(3, 2, false)), 7);
    const Answer one = ScoreTokens(checkpoint);
    MemoryCheckpoint reordered = checkpoint;
    for (int e = 0; e < 3; ++e) CopyExpertOf(checkpoint, order[e], e, reordered);
    const Answer other = ScoreTokens(reordered);

    EXPECT_LT(LargestDifference(other.logprobs, one.logprobs), kRounding);
    for (size_t layer = 0; layer < one.ids.size(); ++layer) {
      std::vector<uint32_t> renamed;
      for (const uint32_t id : other.ids[layer]) renamed.push_back(order[id]);
      EXPECT_EQ(renamed, one.ids[layer]);
    }
  }
}

// One parallel layer, so that both routers read the norm of an embedding; all experts are kept.
ModelConfig ShiftableModel(int experts, MixtureKv kv) {
  ModelConfig config =
      MixtureModel(SoftAttention(experts, kv), MixtureFfnPart(experts, experts, false));
  config.layers.resize(1);
  config.parallel_block = true;
  return config;
}

// A model of two experts, and one of three with a second copy of expert 1 as expert 2.
struct Duplicated {
  explicit Duplicated(MixtureKv kv)
      : two(ShiftableModel(2, kv), 8), three(ShiftableModel(3, kv), 9) {
    MakeFirstValueConstant(two);
    CopyCommon(two, three);
    for (int e = 0; e < 3; ++e) CopyExpertOf(two, std::min(e, 1), e, three);
  }

  void Shift(MemoryCheckpoint& checkpoint, int expert, float shift) {
    for (const char* router : {"attention.", "ffn.mixture."}) {
      ShiftLogit(checkpoint, router, expert, shift);
    }
  }

  MemoryCheckpoint two;
  MemoryCheckpoint three;
};

TEST(MixtureOraclesTest, O7ADuplicateWithHalfTheOddsEachChangesNothing) {
  for (const MixtureKv kv : {MixtureKv::kExpert, MixtureKv::kShared}) {
    Duplicated models(kv);
    const std::vector<float> expected = LogprobsOf(models.two);
    EXPECT_GT(LargestDifference(LogprobsOf(models.three), expected), 100 * kRounding);
    models.Shift(models.three, 1, -std::log(2.0f));
    models.Shift(models.three, 2, -std::log(2.0f));

    EXPECT_LT(LargestDifference(LogprobsOf(models.three), expected), kRounding);
  }
}

TEST(MixtureOraclesTest, O8EqualExpertsMergeWithTheLogSumExpOfTheirLogits) {
  for (const MixtureKv kv : {MixtureKv::kExpert, MixtureKv::kShared}) {
    Duplicated models(kv);
    models.Shift(models.three, 2, 0.7f);
    models.Shift(models.two, 1, std::log(1 + std::exp(0.7f)));

    EXPECT_LT(LargestDifference(LogprobsOf(models.two), LogprobsOf(models.three)), kRounding);
  }
}

TEST(MixtureOraclesTest, O9ARouterThatIsSureOfOneExpertGivesThatSeed) {
  constexpr int kExperts = 3;
  for (const AttentionConfig& attention : EverySoftAttention(kExperts)) {
    for (const MixtureFfnConfig& ffn :
         {MixtureFfnPart(kExperts, 1, false), MixtureFfnPart(kExperts, kExperts, false)}) {
      const ModelConfig config = MixtureModel(attention, ffn);
      for (int sure = 0; sure < kExperts; ++sure) {
        MemoryCheckpoint mixture(config, 20);
        MemoryCheckpoint chosen(DenseAndCopies::DenseOf(config), 30 + sure);
        for (int e = 0; e < kExperts; ++e) {
          const MemoryCheckpoint seed(DenseAndCopies::DenseOf(config), 30 + e);
          CopyExpert(seed, e, mixture);
        }
        CopyCommon(mixture, chosen);
        MakeFirstValueConstant(chosen);
        MakeFirstValueConstant(mixture);
        for (const TensorInfo& tensor : mixture.tensors()) {
          if (tensor.name.find("router") == std::string::npos) continue;
          std::vector<float>& values = mixture.values(tensor.name);
          std::fill(values.begin(), values.end(), 0.0f);
          values[sure * config.hidden_size] = 1e4f;
        }

        const Answer answer = ScoreTokens(mixture);

        EXPECT_EQ(answer.logprobs, LogprobsOf(chosen)) << sure;
        for (size_t i = 0; i < answer.ids[1].size(); i += ffn.mixture.top_k) {
          EXPECT_EQ(answer.ids[1][i], static_cast<uint32_t>(sure));
          EXPECT_EQ(answer.weights[1][i], 1.0f);
        }
      }
    }
  }
}

TEST(MixtureOraclesTest, O11AZeroRouterGivesMeansAndTheFirstExperts) {
  for (const AttentionConfig& soft : EverySoftAttention(4)) {
    for (const AttentionConfig& attention : {soft, TopKAttention(soft, 2, false)}) {
      MemoryCheckpoint checkpoint(MixtureModel(attention, MixtureFfnPart(4, 1, false)), 40);
      for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (tensor.name.find("router") == std::string::npos) continue;
        std::vector<float>& values = checkpoint.values(tensor.name);
        std::fill(values.begin(), values.end(), 0.0f);
      }

      const Answer answer = ScoreTokens(checkpoint);

      for (size_t layer = 0; layer < answer.ids.size(); ++layer) {
        EXPECT_THAT(answer.weights[layer], Each(0.25f));
        const uint32_t picks = layer % 2 == 0 ? attention.mixture.top_k : 1;
        for (size_t i = 0; i < answer.ids[layer].size(); ++i) {
          ASSERT_EQ(answer.ids[layer][i], i % picks) << layer;
        }
      }
      EXPECT_LT(LargestDifference(answer.logprobs, ExpertLoopLogprobs(checkpoint, Tokens())),
                kRounding);
    }
  }
}

}  // namespace
}  // namespace peerage
