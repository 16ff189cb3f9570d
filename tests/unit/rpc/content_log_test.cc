#include "server/rpc/content_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The fake model says letters after letters, so every part is easily told.
v1::GenerateRequest Request(const std::string& prompt) {
  v1::GenerateRequest request = GreedyRequest(4);
  request.mutable_prompt()->set_text(prompt);
  request.mutable_sampling()->set_candidates(2);
  return request;
}

TEST(ContentLogTest, HasWhatWasReadAndWhatWasGenerated) {
  TestServer server({.log_content = true});
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "mine");
  v1::GenerateResponse response;
  ASSERT_TRUE(server.inference().Generate(&context, Request("canary"), &response).ok());
  const std::string generated = response.candidates(1).text();
  ASSERT_FALSE(generated.empty());

  const std::string log = server.EndAndReadLog();
  EXPECT_THAT(log, HasSubstr("content request_id=mine part=prompt index=0 bytes=6 text=canary\n"));
  EXPECT_THAT(log, HasSubstr("content request_id=mine part=generated index=1 bytes=" +
                             std::to_string(generated.size()) + " text="));
  EXPECT_THAT(log, HasSubstr(generated));
}

TEST(ContentLogTest, HasContextAndContinuationsOfAScore) {
  TestServer server({.log_content = true});
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "mine");
  v1::ScoreResponse response;
  ASSERT_TRUE(server.inference().Score(&context, SmallScoreRequest(), &response).ok());

  const std::string log = server.EndAndReadLog();
  EXPECT_THAT(log, HasSubstr("content request_id=mine part=prompt index=0 bytes=2 text=ab\n"));
  EXPECT_THAT(log,
              HasSubstr("content request_id=mine part=continuation index=0 bytes=2 text=cd\n"));
}

TEST(ContentLogTest, CutsWhatIsLong) {
  TestServer server({.model = {.context_length = 4096}, .log_content = true});
  grpc::ClientContext context;
  v1::GenerateResponse response;
  // More than the KV cache holds: it is logged before it is refused.
  const grpc::Status status =
      server.inference().Generate(&context, Request(std::string(3000, 'k')), &response);
  EXPECT_FALSE(status.ok());

  const std::string log = server.EndAndReadLog();
  EXPECT_THAT(log, HasSubstr("bytes=3000 text=" + std::string(2048, 'k') + "\n"));
}

// Counts what it is told.
class CountingSink final : public ResponseSink {
 public:
  void OnStarted(uint32_t) override { ++told; }
  void OnPromptLogprobs(uint32_t, std::vector<TokenLogprob>) override { ++told; }
  void OnPicks(const TokenPicks&) override { ++told; }
  void OnDelta(TokenDelta) override { ++told; }
  void OnPromptTrace(ExpertTrace) override { ++told; }
  void OnHiddenStates(HiddenStates) override { ++told; }
  void OnFinished(CandidateFinish) override { ++told; }
  void OnDone(absl::Status, const Timings&) override { ++told; }
  bool HasRoom() const override { return false; }

  int told = 0;
};

TEST(ContentLogTest, PassesEverythingOn) {
  std::ostringstream text;
  FakeClock clock;
  Log log(LogOptions(), &clock, &text);
  FakeTokenizer tokenizer;
  ServedModel model;
  model.tokenizer = &tokenizer;
  const auto sink = std::make_shared<CountingSink>();
  const auto logged = LogContent(GenerateRequest(), {.model = &model, .log = &log}, sink);

  logged->OnStarted(3);
  logged->OnPromptLogprobs(0, {});
  logged->OnPicks({});
  logged->OnDelta({});
  logged->OnPromptTrace({});
  logged->OnHiddenStates({});
  logged->OnFinished({});
  logged->OnDone(absl::OkStatus(), {});
  EXPECT_EQ(sink->told, 8);
  EXPECT_FALSE(logged->HasRoom());
}

TEST(ContentLogTest, IsOffByDefault) {
  TestServer server;
  server.log().SetLevel(LogLevel::kDebug);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  ASSERT_TRUE(server.inference().Generate(&context, Request("canary"), &response).ok());
  EXPECT_THAT(server.EndAndReadLog(), Not(HasSubstr("canary")));
}

}  // namespace
}  // namespace peerage
