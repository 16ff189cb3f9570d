// Mixtures behind the engine: requests side by side, cut into small steps, against the references
// of tests/golden/make_mixture_models.py.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/engine.h"
#include "tests/support/model_runner.h"
#include "tests/support/recording_sink.h"

namespace peerage {
namespace {

using nlohmann::json;

class MixtureEngineTest : public testing::TestWithParam<const char*> {
 protected:
  std::string folder() const { return std::string("tests/golden/models/") + GetParam(); }
};

TEST_P(MixtureEngineTest, ScoresOfConcurrentRequestsEqualTheReference) {
  std::ifstream file(folder() + "/expected.json");
  const json expected = json::parse(file);
  const auto checkpoint = OpenCheckpoint(folder());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto tokenizer = Tokenizer::Load((*checkpoint)->tokenizer());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EngineObserver observer;
  Engine engine(
      {.max_batch_tokens = 48},
      LoadOrDie(folder(),
                {.weights_dtype = nn::WeightsDtype::kF32, .threads = 2, .kv_cache_bytes = 8 << 20}),
      tokenizer->get(), &Clock::Real(), &observer);

  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const json& sequence : expected["sequences"]) {
    const std::vector<TokenId> tokens = sequence["tokens"];
    sinks.push_back(std::make_shared<RecordingSink>());
    ASSERT_TRUE(engine
                    .Submit(ScoreRequest{.context = {tokens.front()},
                                         .continuations = {{tokens.begin() + 1, tokens.end()}}},
                            sinks.back())
                    .ok());
  }

  for (size_t i = 0; i < sinks.size(); ++i) {
    ASSERT_TRUE(sinks[i]->WaitDone().ok());
    const std::vector<double> wanted = expected["sequences"][i]["log_probabilities"];
    const auto record = sinks[i]->record();
    const std::vector<TokenLogprob>& scored = record.scores.at(0);
    ASSERT_EQ(scored.size(), wanted.size());
    for (size_t t = 0; t < wanted.size(); ++t) {
      EXPECT_NEAR(scored[t].logprob.value(), wanted[t], 1e-3) << i << ", " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MixtureEngineTest,
                         testing::Values("mixtral", "mixture_jetmoe", "mixture_bam_kv_experts",
                                         "mixture_bam_layers", "mixture_moepp"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace peerage
