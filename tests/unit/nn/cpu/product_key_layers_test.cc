// PEER and product-key memories by themselves against brute force in double
// (tests/support/product_key_loop.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "model/nn/cpu/peer.h"
#include "tests/support/expert_loop.h"
#include "tests/support/layer_bench.h"
#include "tests/support/nan.h"
#include "tests/support/odd_models.h"
#include "tests/support/random_values.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kHidden = 33;
// Sums of 33 products and of at most 36 picks, of values near one.
constexpr double kClose = 2e-5;
// Where float and double may choose otherwise: a few roundings of scores near one.
constexpr double kLeastMargin = 1e-5;

// Layer 0's only feed-forward part.
template <typename Layer, typename Plan>
class KeyedBench {
 public:
  KeyedBench(const FfnConfig& ffn, const LoadOptions& options)
      : checkpoint_(OddModel({}, {ffn}), 23), bench_(checkpoint_, options) {
    layer_.emplace(bench_.Load([&](WeightPlacer& placer) {
      return Layer::Place(std::get<Plan>(bench_.plan().blocks[0].ffn[0]), placer);
    }));
    bench_.LayBuffers(layer_->ScratchBytes());
  }

  std::vector<float> Run(const std::vector<float>& u, const std::vector<float>& x) {
    const int tokens = static_cast<int>(u.size()) / kHidden;
    const StepContext step = bench_.Begin({{tokens, 0, {0, 1, 2, 3}}});
    bench_.SetResidual(x);
    layer_->Forward(step, bench_.Input(u));
    return bench_.Residual();
  }

  LayerBench& bench() { return bench_; }
  const MemoryCheckpoint& checkpoint() const { return checkpoint_; }

 private:
  MemoryCheckpoint checkpoint_;
  LayerBench bench_;
  std::optional<Layer> layer_;
};

using PeerBench = KeyedBench<Peer, PeerPlan>;
using MemoryBench = KeyedBench<ProductKeyMemory, ProductKeyMemoryPlan>;

// The output is the naive sum, and the picks are those of brute force.
template <typename Bench>
void ExpectNaive(Bench& bench, const ProductKeyConfig& keys, const std::string& prefix,
                 int tokens) {
  const std::vector<float> u = RandomValues(tokens * kHidden, 100 + tokens);
  const std::vector<float> x = RandomValues(tokens * kHidden, 101 + tokens);
  const UsageTotals before = bench.bench().counters().Read(0, {});
  const std::vector<float> y = bench.Run(u, x);
  const UsageTotals after = bench.bench().counters().Read(0, {});
  double kept_mass = 0, entropy = 0;  // of one token in 16
  DoubleRows expected = ToRows(x, kHidden);
  AddFfnLoop(bench.checkpoint(), 0, ToRows(u, kHidden), expected);
  ExpectRowsNear(y, expected, kClose);

  const auto reported = bench.bench().counters().Picks(tokens);
  const size_t picks = size_t(keys.heads) * keys.top_k;
  ASSERT_EQ(reported[0].ids.size(), tokens * picks);
  for (int t = 0; t < tokens; ++t) {
    const DoublePicks naive =
        PickByProductKeys(bench.checkpoint(), keys, prefix, ToRows(u, kHidden)[t]);
    ASSERT_GT(naive.margin, kLeastMargin) << "another seed: the choice hangs on rounding";
    for (size_t i = 0; i < picks; ++i) {
      ASSERT_EQ(reported[0].ids[t * picks + i], naive.ids[i]) << t << ", " << i;
      ASSERT_NEAR(reported[0].weights[t * picks + i], naive.weights[i], 1e-5) << t << ", " << i;
    }
    const uint64_t number = before.tokens + t;
    if (number % 16 != 0) continue;
    kept_mass += naive.kept_mass[number / 16 % keys.heads];
    entropy += naive.entropy[number / 16 % keys.heads] / std::log(keys.num_experts);
  }
  const auto grown = [](uint64_t from, uint64_t to) {
    return static_cast<double>(to - from) * ExpertCount::kUnit;
  };
  EXPECT_NEAR(grown(before.kept_mass.sum, after.kept_mass.sum), kept_mass, 1e-5);
  EXPECT_NEAR(grown(before.router_entropy.sum, after.router_entropy.sum), entropy, 1e-5);
}

// Each way to have keys with each score and norm of queries.
std::vector<ProductKeyConfig> EveryRouter() {
  std::vector<ProductKeyConfig> configs;
  for (const ProductKeys kind :
       {ProductKeys::kShared, ProductKeys::kPerHead, ProductKeys::kDirect}) {
    for (const RouterScore score : {RouterScore::kSoftmax, RouterScore::kSigmoid,
                                    RouterScore::kRelu, RouterScore::kJointSoftmax}) {
      for (const QueryNorm norm : {QueryNorm::kNone, QueryNorm::kBatch, QueryNorm::kLayer}) {
        ProductKeyConfig keys = OddKeys(17, 3, 5);
        keys.keys = kind;
        keys.score = score;
        keys.query_norm = norm;
        keys.query_bias = score != RouterScore::kSoftmax;
        keys.per_head_experts = norm == QueryNorm::kBatch;
        if (kind == ProductKeys::kDirect) {
          if (norm != QueryNorm::kNone) continue;
          keys.key_dim = 0;
          keys.per_head_experts = score == RouterScore::kRelu;
        }
        configs.push_back(keys);
      }
    }
  }
  return configs;
}

TEST(ProductKeyMemoryTest, IsBruteForceForEveryRouter) {
  for (const ProductKeyConfig& keys : EveryRouter()) {
    SCOPED_TRACE(testing::Message()
                 << "keys " << static_cast<int>(keys.keys) << ", score "
                 << static_cast<int>(keys.score) << ", norm " << static_cast<int>(keys.query_norm));
    MemoryBench memory(ProductKeyMemoryConfig{keys}, {.threads = 2});
    for (const int tokens : {1, 33}) {
      ExpectNaive(memory, keys, "model.layers.0.ffn.pkm.", tokens);
    }
  }
}

// One sub-key for each pick and fewer; every expert picked; one head and many.
TEST(ProductKeyMemoryTest, IsBruteForceForEverySize) {
  for (const auto& [n, heads, top_k] :
       {std::tuple{2, 1, 4}, {3, 2, 9}, {5, 3, 11}, {31, 1, 1}, {31, 5, 31}, {97, 2, 33}}) {
    SCOPED_TRACE(testing::Message() << n << " sub-keys, " << heads << " heads, top " << top_k);
    for (const bool per_head : {false, true}) {
      ProductKeyConfig keys = OddKeys(n, heads, top_k);
      keys.keys = per_head ? ProductKeys::kPerHead : ProductKeys::kShared;
      keys.per_head_experts = per_head;
      MemoryBench memory(ProductKeyMemoryConfig{keys}, {});
      ExpectNaive(memory, keys, "model.layers.0.ffn.pkm.", 3);
    }
  }
}

TEST(PeerTest, IsBruteForceForEveryActivationAndGate) {
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    for (const bool glu : {false, true}) {
      const PeerConfig config{.keys = OddKeys(9, 2, 7), .activation = activation, .glu = glu};
      PeerBench peer(config, {.threads = 3});
      for (const int tokens : {1, 2, 3, 31}) {
        ExpectNaive(peer, config.keys, "model.layers.0.ffn.peer.", tokens);
      }
    }
  }
}

// What query and experts read is normalised; picks are of the normalised row.
TEST(PeerTest, ANormComesBeforeQueryAndExperts) {
  for (const PeerNorm norm : {PeerNorm::kRms, PeerNorm::kL2}) {
    PeerBench peer(PeerConfig{.keys = OddKeys(9, 2, 7), .norm = norm}, {.threads = 2});
    std::vector<float> u = RandomValues(5 * kHidden, 1), x = RandomValues(5 * kHidden, 2);
    std::fill_n(u.begin() + kHidden, kHidden, 0.0f);  // a row of zeros stays finite
    DoubleRows expected = ToRows(x, kHidden);
    AddFfnLoop(peer.checkpoint(), 0, ToRows(u, kHidden), expected);
    ExpectRowsNear(peer.Run(u, x), expected, kClose);
  }
}

// Fewer tokens than threads divide heads, more divide tokens: the bits are those of one thread.
TEST(PeerTest, BitsDoNotDependOnThreads) {
  ProductKeyConfig own = OddKeys(9, 5, 7);
  own.keys = ProductKeys::kPerHead;
  own.per_head_experts = true;
  own.query_norm = QueryNorm::kLayer;
  for (const ProductKeyConfig& keys : {OddKeys(17, 3, 5), own}) {
    for (const ExpertDtype dtype : {ExpertDtype::kF32, ExpertDtype::kInt8}) {
      const PeerConfig config{.keys = keys, .glu = true};
      PeerBench one(config, {.expert_dtype = dtype, .threads = 1});
      for (const int threads : {2, 3, 5}) {
        PeerBench many(config, {.expert_dtype = dtype, .threads = threads});
        for (const int tokens : {1, 2, 4, 33, 97}) {
          const std::vector<float> u = RandomValues(tokens * kHidden, tokens);
          const std::vector<float> x = RandomValues(tokens * kHidden, tokens + 1);
          EXPECT_EQ(many.Run(u, x), one.Run(u, x)) << threads << " threads, " << tokens;
          const auto expected = one.bench().counters().Picks(tokens);
          const auto actual = many.bench().counters().Picks(tokens);
          EXPECT_EQ(actual[0].ids, expected[0].ids);
          EXPECT_EQ(actual[0].weights, expected[0].weights);
        }
      }
    }
  }
}

TEST(PeerTest, CountsEveryPick) {
  for (const int threads : {1, 3}) {
    PeerBench peer(PeerConfig{.keys = OddKeys(5, 2, 3)}, {.threads = threads});
    uint64_t tokens = 0;
    for (const int count : {1, 33}) {
      peer.Run(RandomValues(count * kHidden, count), std::vector<float>(count * kHidden));
      tokens += count;
    }
    std::vector<ExpertCount> counts(25);
    EXPECT_EQ(peer.bench().counters().Read(0, absl::MakeSpan(counts)).tokens, tokens);
    uint64_t selections = 0;
    for (const ExpertCount& count : counts) selections += count.selections;
    EXPECT_EQ(selections, tokens * 2 * 3);
  }
}

TEST(PeerTest, ANaNStaysInItsRow) {
  PeerBench peer(PeerConfig{.keys = OddKeys(17, 3, 5)}, {.threads = 2});
  std::vector<float> u = RandomValues(33 * kHidden, 3);
  const std::vector<float> x = RandomValues(33 * kHidden, 4), clean = peer.Run(u, x);
  u[7 * kHidden + 11] = kNan;
  const std::vector<float> y = peer.Run(u, x);
  for (int i = 0; i < 33 * kHidden; ++i) {
    if (i / kHidden == 7) {
      EXPECT_TRUE(std::isnan(y[i])) << i;
    } else {
      EXPECT_EQ(y[i], clean[i]) << i;
    }
  }
  for (const uint32_t id : peer.bench().counters().Picks(33)[0].ids) ASSERT_LT(id, 289u);
}

}  // namespace
}  // namespace peerage::nn::cpu
