#include "server/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/recording_sink.h"

namespace peerage {
namespace {

TEST(EngineTest, GeneratesTheTokensOfOneRequest) {
  FakeClock clock;
  FakeTokenizer tokenizer;
  EngineObserver observer;
  Engine engine({}, std::make_unique<FakeModel>(), &tokenizer, &clock, &observer);
  auto sink = std::make_shared<RecordingSink>();
  GenerateRequest request{.prompt = {1, 2, 3, 4, 5}, .stopping = {.max_tokens = 6}};

  ASSERT_TRUE(engine.Submit(request, sink).ok());

  EXPECT_EQ(sink->WaitDone(), absl::OkStatus());
  std::vector<TokenId> history = request.prompt;
  std::vector<TokenId> expected;
  for (uint32_t i = 0; i < 6; ++i) {
    expected.push_back(FakeModel::NextToken(history, request.sampling, 0, i));
    history.push_back(expected.back());
  }
  EXPECT_EQ(sink->record().candidates[0].tokens, expected);
  EXPECT_EQ(engine.status().kv_blocks_free, engine.status().kv_blocks_total);
}

}  // namespace
}  // namespace peerage
