// Hidden states against those of Hugging Face transformers (tests/golden/make_hidden_golden.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/model_runner.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

using nlohmann::json;

constexpr double kNear = 1e-4;

TEST(HiddenStatesGoldenTest, EqualTransformers) {
  std::ifstream file("tests/golden/hidden_states.json");
  const json golden = json::parse(file);
  ASSERT_EQ(golden["models"].size(), 3u);
  for (const json& expected : golden["models"]) {
    const std::string name = expected["name"];
    const auto model =
        LoadOrDie("tests/golden/models/" + name,
                  {.weights_dtype = nn::WeightsDtype::kF32, .kv_cache_bytes = 8 << 20});
    const std::vector<std::vector<std::vector<double>>> wanted = expected["layers"];
    ASSERT_EQ(wanted.size(), model->description().num_layers + 2);
    std::vector<int32_t> layers(wanted.size());
    std::iota(layers.begin(), layers.end(), 0);
    const auto rows = FeedForHidden(*model, {{expected["tokens"], {0, 1, 2}}}, layers, 50).front();
    const std::vector<size_t> positions = expected["positions"];
    const size_t width = model->description().hidden_size;
    for (size_t p = 0; p < positions.size(); ++p) {
      for (size_t i = 0; i < layers.size() * width; ++i) {
        ASSERT_NEAR(rows[positions[p]][i], wanted[i / width][p][i % width], kNear)
            << name << ", layer " << i / width << ", position " << positions[p];
      }
    }
  }
}

}  // namespace
}  // namespace peerage
