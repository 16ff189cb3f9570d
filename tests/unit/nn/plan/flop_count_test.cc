#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn {
namespace {

using nlohmann::json;

uint64_t Flops(const char* ffn) {
  json text = json::parse(R"({
      "model_type": "peerage", "format_version": 1, "vocab_size": 256000, "hidden_size": 1024,
      "intermediate_size": 2048, "num_hidden_layers": 1, "num_attention_heads": 8,
      "num_key_value_heads": 8, "head_dim": 128, "parallel_block": true,
      "max_position_embeddings": 2048})");
  text["ffn"] = json::parse(ffn);
  const auto config = ParseModelConfig(text.dump());
  EXPECT_TRUE(config.ok()) << config.status();
  return PlanModel(*config).blocks[0].Flops(256);
}

// The BAM paper's Table 7 has 21,504,000 for the layer with an FFN router over 4 experts; the
// router costs 2 x 4 x 1024 of it.
constexpr uint64_t kDense = 21'504'000 - 8'192;
constexpr uint64_t kAttention = kDense - 6 * 1024 * 2048;

TEST(BlockFlopsTest, AreThePapersOfADenseLayer) {
  EXPECT_EQ(Flops(R"([{"kind": "dense"}])"), kDense);
}

// PEER at its published size: query and sub-keys 4.2 million each, experts 0.5.
TEST(BlockFlopsTest, CountPeersRouterAndTheSelectedExperts) {
  constexpr uint64_t kQuery = 2 * 8 * 1024 * 256, kScores = 2 * 8 * 1024 * 256;
  constexpr uint64_t kVectors = 2 * 8 * 16 * 1024;
  EXPECT_EQ(Flops(R"([{"kind": "peer", "num_experts": 1048576, "heads": 8, "top_k": 16,
                       "key_dim": 256}])"),
            kAttention + kQuery + kScores + 2 * kVectors);
  EXPECT_EQ(Flops(R"([{"kind": "peer", "num_experts": 1048576, "heads": 8, "top_k": 16,
                       "key_dim": 256, "glu": true, "experts": "per_head"}])"),
            kAttention + kQuery + kScores + 3 * kVectors);
  EXPECT_EQ(Flops(R"([{"kind": "dense"}, {"kind": "pkm", "num_experts": 1048576, "heads": 8,
                       "top_k": 16, "key_dim": 256}])"),
            kDense + kQuery + kScores + kVectors);
}

TEST(BlockFlopsTest, CountTheMatrixOfDirectKeys) {
  EXPECT_EQ(Flops(R"([{"kind": "peer", "num_experts": 1024, "heads": 1, "top_k": 16,
                       "keys": "direct"}])"),
            kAttention + 2 * 2 * 32 * 1024 + 4 * 16 * 1024);
}

}  // namespace
}  // namespace peerage::nn
