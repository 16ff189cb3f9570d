// The promise of docs/architecture.md on the real model: a request's bits do not depend on its
// neighbours, on how its prompt is cut, on threads, or on which RPC asks.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/engine.h"
#include "tests/support/model_runner.h"
#include "tests/support/recording_sink.h"

namespace peerage {
namespace {

constexpr char kContext[] =
    "The tide went out before dawn, and the boats lay tilted on the mud like sleeping cattle. "
    "Maren "
    "counted them from the window: seven, as there had been yesterday, and the day before that. "
    "She "
    "had promised her father that she would not go down to the harbour alone, but he was in town "
    "with "
    "the fish, and the lighthouse had not answered for two nights. So she took the lantern, the "
    "rope "
    "and half a loaf, and went. On the path she met nobody but the old dog of the pilot, who "
    "walked "
    "beside her as far as the chapel, sat down and would not be moved.";

const Tokenizer& RealTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    const auto checkpoint = OpenCheckpoint(kSmolLm2);
    auto loaded = Tokenizer::Load((*checkpoint)->tokenizer());
    return *std::move(loaded);
  }();
  return *tokenizer;
}

std::vector<TokenId> Encode(const std::string& text) {
  return *RealTokenizer().Encode(text, SpecialTokens::kRecognise);
}

class Server {
 public:
  Server(int threads, int max_batch_tokens)
      : engine_({.max_batch_tokens = max_batch_tokens},
                LoadOrDie(kSmolLm2, {.threads = threads, .num_slots = 64}), &RealTokenizer(),
                &Clock::Real(), &observer_) {}

  template <typename Request>
  std::shared_ptr<RecordingSink> Submit(Request request) {
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine_.Submit(std::move(request), sink).ok());
    return sink;
  }

 private:
  EngineObserver observer_;
  Engine engine_;
};

ScoreRequest Subject() {
  return {.context = Encode(kContext),
          .continuations = {Encode(" Then the light came on."), Encode(" He"),
                            Encode(" 42 tons of steel; nothing else mattered to the company.")}};
}

GenerateRequest Generation(const std::string& prompt, uint64_t seed) {
  GenerateRequest request;
  request.prompt = Encode(prompt);
  request.sampling = {.temperature = 0.9f, .top_p = 0.95f, .seed = seed};
  request.stopping.max_tokens = 24;
  request.alternatives = 2;
  return request;
}

using Bits = std::vector<std::pair<TokenId, float>>;

Bits BitsOf(const std::vector<TokenLogprob>& tokens) {
  Bits bits;
  for (const TokenLogprob& token : tokens) bits.emplace_back(token.token, token.logprob.value());
  return bits;
}

// Of all continuations, one after the other.
Bits ScoreBits(const RecordingSink& sink) {
  EXPECT_TRUE(sink.WaitDone().ok());
  Bits bits;
  for (const auto& [index, tokens] : sink.record().scores) {
    for (const auto& bit : BitsOf(tokens)) bits.push_back(bit);
  }
  return bits;
}

Bits GenerationBits(const RecordingSink& sink) {
  EXPECT_TRUE(sink.WaitDone().ok());
  return BitsOf(sink.record().candidates.at(0).logprobs);
}

class BatchInvarianceTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<Server>(1, 512);
    score_ = ScoreBits(*server_->Submit(Subject()));
    generation_ = GenerationBits(*server_->Submit(Generation(kContext, 7)));
    ASSERT_EQ(generation_.size(), 24u);
    ASSERT_GT(score_.size(), 15u);
  }
  static void TearDownTestSuite() { server_.reset(); }

  static std::unique_ptr<Server> server_;  // one thread, whole prompts
  static Bits score_;                      // the subject's, alone
  static Bits generation_;
};
std::unique_ptr<Server> BatchInvarianceTest::server_;
Bits BatchInvarianceTest::score_;
Bits BatchInvarianceTest::generation_;

TEST_F(BatchInvarianceTest, ScoresBesideSevenOthersAreTheSame) {
  std::vector<std::shared_ptr<RecordingSink>> others;
  for (int i = 0; i < 4; ++i) {
    others.push_back(server_->Submit(Generation(std::string(40 * i + 5, 'x') + " and then", i)));
  }
  const auto subject = server_->Submit(Subject());
  const auto generation = server_->Submit(Generation(kContext, 7));
  for (int i = 0; i < 3; ++i) {
    others.push_back(server_->Submit(ScoreRequest{
        .context = Encode(std::string(kContext).substr(17 * i)), .continuations = {Encode(" b")}}));
  }

  EXPECT_EQ(ScoreBits(*subject), score_);
  EXPECT_EQ(GenerationBits(*generation), generation_);
  for (const auto& other : others) EXPECT_TRUE(other->WaitDone().ok());
}

TEST_F(BatchInvarianceTest, ChunksOfEverySizeGiveTheSame) {
  for (const int chunk : {1, 7, 64}) {
    Server server(1, chunk);
    EXPECT_EQ(ScoreBits(*server.Submit(Subject())), score_) << chunk;
    EXPECT_EQ(GenerationBits(*server.Submit(Generation(kContext, 7))), generation_) << chunk;
  }
}

TEST_F(BatchInvarianceTest, TwoThreadsGiveTheSame) {
  Server server(2, 512);

  EXPECT_EQ(ScoreBits(*server.Submit(Subject())), score_);
  EXPECT_EQ(GenerationBits(*server.Submit(Generation(kContext, 7))), generation_);
}

TEST_F(BatchInvarianceTest, GenerateReportsWhatScoreReports) {
  std::vector<TokenId> generated;
  for (const auto& [token, logprob] : generation_) generated.push_back(token);

  EXPECT_EQ(ScoreBits(*server_->Submit(
                ScoreRequest{.context = Encode(kContext), .continuations = {generated}})),
            generation_);
}

TEST_F(BatchInvarianceTest, ASeedDecidesTheTokens) {
  EXPECT_EQ(GenerationBits(*server_->Submit(Generation(kContext, 7))), generation_);
  EXPECT_NE(GenerationBits(*server_->Submit(Generation(kContext, 8))), generation_);
}

TEST_F(BatchInvarianceTest, CandidatesAreIndependentOfEachOther) {
  GenerateRequest request = Generation(kContext, 7);
  request.candidates = 3;

  const auto sink = server_->Submit(std::move(request));

  EXPECT_TRUE(sink->WaitDone().ok());
  const auto candidates = sink->record().candidates;
  ASSERT_EQ(candidates.size(), 3u);
  EXPECT_EQ(BitsOf(candidates.at(0).logprobs), generation_);
  EXPECT_NE(BitsOf(candidates.at(1).logprobs), generation_);
  EXPECT_NE(BitsOf(candidates.at(2).logprobs), BitsOf(candidates.at(1).logprobs));
}

}  // namespace
}  // namespace peerage
