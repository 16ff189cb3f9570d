// Random models over every choice of product-key layers, against numpy
// (tests/golden/make_product_key_models.py).
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/golden/product_key_fixtures.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using nlohmann::json;

class ProductKeyModelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fixture_ = ProductKeyFixture(GetParam());
    WriteProductKeyModel(GetParam(), fixture_, folder_);
    model_ = LoadOrDie(folder_.path(), {.weights_dtype = nn::WeightsDtype::kF32,
                                        .expert_dtype = nn::ExpertDtype::kF32,
                                        .kv_cache_bytes = 8 << 20});
  }

  json fixture_;
  TemporaryDirectory folder_;
  std::unique_ptr<LanguageModel> model_;
};

TEST_P(ProductKeyModelTest, LogProbabilitiesEqualTheReference) {
  for (const json& sequence : fixture_["sequences"]) {
    const std::vector<double> wanted = sequence["log_probabilities"];
    const std::vector<float> actual = SequenceRunner(*model_, 0, 0).Score(sequence["tokens"], 64);
    ASSERT_EQ(actual.size(), wanted.size());
    for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], wanted[i], 1e-3) << i;
  }
  // The same experts with the same weights, ids of heads with own experts included. The order of
  // nearly equal ones may differ.
  const std::vector<TokenId> tokens = fixture_["sequences"][0]["tokens"];
  const std::vector<PickedExperts> picked = SequenceRunner(*model_, 0, 0).Picks({tokens[0]});
  const json& parts = fixture_["picks"];
  for (size_t part = 0; part < parts.size(); ++part) {
    const std::vector<uint32_t> ids = parts[part]["ids"];
    const std::vector<double> weights = parts[part]["weights"];
    ASSERT_EQ(picked.at(part).ids.size(), ids.size());
    const uint32_t top_k = model_->description().expert_layers.at(part).top_k;
    for (size_t head = 0; head < ids.size(); head += top_k) {
      std::map<uint32_t, double> wanted, actual;
      for (size_t i = head; i < head + top_k; ++i) {
        wanted[ids[i]] = weights[i];
        actual[picked[part].ids[i]] = picked[part].weights[i];
      }
      ASSERT_EQ(actual.size(), wanted.size());
      for (const auto& [id, weight] : wanted) {
        ASSERT_EQ(actual.count(id), 1u) << "part " << part << " expert " << id;
        EXPECT_NEAR(actual[id], weight, 1e-4) << "part " << part << " expert " << id;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ProductKeyModelTest, testing::ValuesIn(ProductKeyFixtureNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace peerage
