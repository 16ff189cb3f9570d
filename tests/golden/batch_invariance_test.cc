// The promise of docs/architecture.md on real models, dense, PEER and mixture: a request's bits do
// not depend on its neighbours, on how its prompt is cut, on threads, or on which RPC asks.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/upcycle/upcycle.h"
#include "server/engine/engine.h"
#include "tests/support/model_runner.h"
#include "tests/support/recording_sink.h"
#include "tests/support/temporary_directory.h"

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

std::string SmolLm2() { return kSmolLm2; }

std::string PeerSmall() { return "tests/golden/models/peer_small"; }

// SmolLM2 as attention experts with keys and values of their own and FFN experts with raw gates.
std::string UpcycledSmolLm2() {
  static const TemporaryDirectory directory;
  const std::string path = directory.PathOf("model");
  static const auto report = transform::Upcycle({.base = {"base", kSmolLm2},
                                                 .num_experts = 2,
                                                 .allow_identical = true,
                                                 .attention = transform::UpcycledAttention::kExpert,
                                                 .random_seed = 1,
                                                 .out = path});
  EXPECT_TRUE(report.ok()) << report.status();
  return path;
}

struct TestedModel {
  const char* name;
  std::string (*path)();
  nn::WeightsDtype weights = nn::WeightsDtype::kAuto;
  nn::ExpertDtype experts = nn::ExpertDtype::kAuto;
};

constexpr TestedModel kModels[] = {
    {"dense", SmolLm2},
    {"peer_f32", PeerSmall, nn::WeightsDtype::kAuto, nn::ExpertDtype::kF32},
    {"peer_int8", PeerSmall, nn::WeightsDtype::kAuto, nn::ExpertDtype::kInt8},
    {"peer_fp8", PeerSmall, nn::WeightsDtype::kAuto, nn::ExpertDtype::kFp8},
    {"mixture", UpcycledSmolLm2, nn::WeightsDtype::kQ8_0}};

std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& path) {
  const auto checkpoint = OpenCheckpoint(path);
  auto loaded = Tokenizer::Load((*checkpoint)->tokenizer());
  return *std::move(loaded);
}

using Bits = std::vector<std::pair<TokenId, float>>;

// Bytes of hidden states by layer, of prompt and part 0 one after the other.
using HiddenBits = std::vector<std::string>;

class Server {
 public:
  Server(const TestedModel& model, const Tokenizer& tokenizer, int threads, int max_batch_tokens)
      : engine_({.max_batch_tokens = max_batch_tokens},
                LoadOrDie(model.path(), {.weights_dtype = model.weights,
                                         .expert_dtype = model.experts,
                                         .threads = threads,
                                         .num_slots = 64}),
                &tokenizer, &Clock::Real(), &observer_) {}

  template <typename Request>
  std::shared_ptr<RecordingSink> Submit(Request request) {
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine_.Submit(std::move(request), sink).ok());
    return sink;
  }

  Engine& engine() { return engine_; }

 private:
  EngineObserver observer_;
  Engine engine_;
};

// Cancels its own request when so many tokens have come.
class ImpatientSink final : public ResponseSink {
 public:
  ImpatientSink(Engine& engine, int patience) : engine_(engine), patience_(patience) {}

  static std::shared_ptr<ImpatientSink> Submit(Engine& engine, GenerateRequest request,
                                               int patience) {
    const auto sink = std::make_shared<ImpatientSink>(engine, patience);
    const auto handle = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(handle.ok()) << handle.status();
    sink->handle_ = handle.value_or(0);
    sink->submitted_.Notify();
    return sink;
  }

  void OnStarted(uint32_t cached_tokens) override {}
  void OnDelta(TokenDelta) override {
    if (--patience_ > 0) return;
    submitted_.WaitForNotification();
    engine_.Cancel(handle_);
  }
  void OnDone(absl::Status status, const Timings&) override {
    status_ = std::move(status);
    done_.Notify();
  }

  absl::Status WaitDone() const {
    done_.WaitForNotification();
    return status_;
  }

 private:
  Engine& engine_;
  int patience_;
  RequestHandle handle_ = 0;
  absl::Notification submitted_;
  absl::Status status_;
  absl::Notification done_;
};

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

HiddenBits HiddenBitsOf(const RecordingSink& sink) {
  EXPECT_TRUE(sink.WaitDone().ok());
  const RecordingSink::Record record = sink.record();
  HiddenBits bits = record.hidden.at(std::nullopt).layers;
  for (size_t i = 0; i < bits.size(); ++i) bits[i] += record.hidden.at(0).layers[i];
  return bits;
}

// What the subject's requests give when they are alone: one thread, whole prompts.
struct Alone {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Server> server;
  Bits score;
  Bits generation;
};

class BatchInvarianceTest : public testing::TestWithParam<TestedModel> {
 protected:
  void SetUp() override {
    if (alone().server == nullptr) {
      alone().tokenizer = LoadTokenizer(GetParam().path());
      alone().server = std::make_unique<Server>(GetParam(), *alone().tokenizer, 1, 512);
      alone().score = ScoreBits(*alone().server->Submit(Subject()));
      alone().generation = GenerationBits(*alone().server->Submit(Generation(kContext, 7)));
    }
    ASSERT_EQ(generation().size(), 24u);
    ASSERT_GT(score().size(), 15u);
  }
  static void TearDownTestSuite() { by_model_.clear(); }

  Server& server() { return *alone().server; }
  const Bits& score() { return alone().score; }
  const Bits& generation() { return alone().generation; }

  Server NewServer(int threads, int max_batch_tokens) {
    return Server(GetParam(), *alone().tokenizer, threads, max_batch_tokens);
  }

  std::vector<TokenId> Encode(const std::string& text) {
    return *alone().tokenizer->Encode(text, SpecialTokens::kRecognise);
  }

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

 private:
  Alone& alone() { return by_model_[GetParam().name]; }

  static std::map<std::string, Alone> by_model_;
};
std::map<std::string, Alone> BatchInvarianceTest::by_model_;

TEST_P(BatchInvarianceTest, ScoresBesideSevenOthersAreTheSame) {
  std::vector<std::shared_ptr<RecordingSink>> others;
  for (int i = 0; i < 4; ++i) {
    others.push_back(server().Submit(Generation(std::string(40 * i + 5, 'x') + " and then", i)));
  }
  const auto subject = server().Submit(Subject());
  const auto generated = server().Submit(Generation(kContext, 7));
  for (int i = 0; i < 3; ++i) {
    others.push_back(server().Submit(ScoreRequest{
        .context = Encode(std::string(kContext).substr(17 * i)), .continuations = {Encode(" b")}}));
  }

  EXPECT_EQ(ScoreBits(*subject), score());
  EXPECT_EQ(GenerationBits(*generated), generation());
  for (const auto& other : others) EXPECT_TRUE(other->WaitDone().ok());
}

TEST_P(BatchInvarianceTest, NeighboursThatAreCancelledChangeNothing) {
  GenerateRequest endless = Generation("Once upon a time", 1);
  endless.stopping.max_tokens = 400;
  const auto early = ImpatientSink::Submit(server().engine(), endless, 3);
  const auto late = ImpatientSink::Submit(server().engine(), endless, 12);
  const auto generated = server().Submit(Generation(kContext, 7));

  EXPECT_EQ(GenerationBits(*generated), generation());
  EXPECT_EQ(early->WaitDone().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(late->WaitDone().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ScoreBits(*server().Submit(Subject())), score());  // in the blocks they have left
}

TEST_P(BatchInvarianceTest, ChunksOfEverySizeGiveTheSame) {
  for (const int chunk : {1, 7, 64}) {
    Server chunked = NewServer(1, chunk);
    EXPECT_EQ(ScoreBits(*chunked.Submit(Subject())), score()) << chunk;
    EXPECT_EQ(GenerationBits(*chunked.Submit(Generation(kContext, 7))), generation()) << chunk;
  }
}

TEST_P(BatchInvarianceTest, TwoThreadsGiveTheSame) {
  Server threaded = NewServer(2, 512);

  EXPECT_EQ(ScoreBits(*threaded.Submit(Subject())), score());
  EXPECT_EQ(GenerationBits(*threaded.Submit(Generation(kContext, 7))), generation());
}

TEST_P(BatchInvarianceTest, GenerateReportsWhatScoreReports) {
  std::vector<TokenId> generated;
  for (const auto& [token, logprob] : generation()) generated.push_back(token);

  EXPECT_EQ(ScoreBits(*server().Submit(
                ScoreRequest{.context = Encode(kContext), .continuations = {generated}})),
            generation());
}

// Every layer of every token, but for the last one, which is not computed.
TEST_P(BatchInvarianceTest, HiddenStatesAreTheSameWhoeverAsksBesideWhomInWhichChunks) {
  HiddenStatesChoice all{.all_before = UINT32_MAX};
  for (uint32_t layer = 0; layer < server().engine().model().num_layers + 2; ++layer) {
    all.layers.push_back(layer);
  }
  GenerateRequest request = Generation(kContext, 7);
  request.hidden_states = all;
  const auto alone = server().Submit(request);
  const HiddenBits expected = HiddenBitsOf(*alone);
  EXPECT_EQ(GenerationBits(*alone), generation());
  const size_t tokens = request.prompt.size() + 23;
  ASSERT_EQ(expected.size(), all.layers.size());
  for (const std::string& layer : expected) {
    ASSERT_EQ(layer.size(), tokens * server().engine().model().hidden_size * sizeof(float));
  }

  ScoreRequest score{.context = request.prompt};
  std::vector<TokenId>& continuation = score.continuations.emplace_back();
  for (const auto& [token, logprob] : generation()) continuation.push_back(token);
  score.hidden_states = all;
  Server chunked = NewServer(2, 7);
  const auto neighbour = chunked.Submit(Generation("Once upon a time", 1));
  const auto generated = chunked.Submit(request);
  const auto scored = chunked.Submit(score);
  EXPECT_TRUE(HiddenBitsOf(*generated) == expected);
  EXPECT_TRUE(HiddenBitsOf(*scored) == expected);
  EXPECT_TRUE(neighbour->WaitDone().ok());
}

// Those of the generated tokens, with and without the prompt's keys and values from the cache.
TEST_P(BatchInvarianceTest, HiddenStatesAreTheSameBehindACachedPrefix) {
  const uint32_t last = server().engine().model().num_layers + 1;
  GenerateRequest request = Generation(kContext, 7);
  request.hidden_states = {.layers = {0, last / 2, last}, .all_before = UINT32_MAX};
  const auto whole = server().Submit(request);
  EXPECT_TRUE(whole->WaitDone().ok());
  EXPECT_EQ(whole->record().cached_tokens, 0u);

  request.hidden_states.all_before = 0;
  request.hidden_states.all_from = static_cast<uint32_t>(request.prompt.size());
  const auto rest = server().Submit(request);
  EXPECT_TRUE(rest->WaitDone().ok());
  EXPECT_GT(rest->record().cached_tokens, 0u);
  EXPECT_EQ(rest->record().hidden.count(std::nullopt), 0u);
  EXPECT_TRUE(rest->record().hidden.at(0).positions == whole->record().hidden.at(0).positions);
  EXPECT_TRUE(rest->record().hidden.at(0).layers == whole->record().hidden.at(0).layers);
}

TEST_P(BatchInvarianceTest, ASeedDecidesTheTokens) {
  EXPECT_EQ(GenerationBits(*server().Submit(Generation(kContext, 7))), generation());
  EXPECT_NE(GenerationBits(*server().Submit(Generation(kContext, 8))), generation());
}

TEST_P(BatchInvarianceTest, CandidatesAreIndependentOfEachOther) {
  GenerateRequest request = Generation(kContext, 7);
  request.candidates = 3;

  const auto sink = server().Submit(std::move(request));

  EXPECT_TRUE(sink->WaitDone().ok());
  const auto candidates = sink->record().candidates;
  ASSERT_EQ(candidates.size(), 3u);
  EXPECT_EQ(BitsOf(candidates.at(0).logprobs), generation());
  EXPECT_NE(BitsOf(candidates.at(1).logprobs), generation());
  EXPECT_NE(BitsOf(candidates.at(2).logprobs), BitsOf(candidates.at(1).logprobs));
}

INSTANTIATE_TEST_SUITE_P(Models, BatchInvarianceTest, testing::ValuesIn(kModels),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace peerage
