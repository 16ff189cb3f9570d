#include "server/pages/playground.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/pages/playground_events.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::HasSubstr;

const std::vector<ExpertLayer> kLayers = {
    {.layer = 1, .num_experts = 50, .heads = 2, .top_k = 3},
    {.layer = 4, .kind = ExpertLayerKind::kMixtureFfn, .num_experts = 4, .heads = 1, .top_k = 2}};

// A playground on a port, where every text means the test's request.
class PlaygroundTest : public EngineTest {
 protected:
  PlaygroundTest() {
    Start({}, {.expert_layers = kLayers});
    playground_.emplace(engine_.get(), &tokenizer_,
                        [this](absl::string_view) { return request(); });
    playground_->AddTo(server_.emplace());
    server_->Handle("/healthz", [](const AdminRequest&) { return AdminResponse{.body = "ok\n"}; });
    EXPECT_TRUE(server_->Listen({"127.0.0.1", 0}).ok());
  }

  httplib::Client Connect() { return httplib::Client("127.0.0.1", server_->address().port); }

  // `receive` gets each line, and says whether to read on.
  httplib::Result Ask(const std::function<bool(const json&)>& receive) {
    httplib::Request request;
    request.method = "POST";
    request.path = "/playground/generate";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = "{}";
    std::string rest;
    request.content_receiver = [&](const char* part, size_t size, uint64_t, uint64_t) {
      rest.append(part, size);
      for (size_t end = 0; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) {
        if (!receive(json::parse(rest.substr(0, end)))) return false;
      }
      return true;
    };
    return Connect().send(request);
  }

  std::vector<json> AskForAll() {
    std::vector<json> events;
    const auto result = Ask([&](const json& event) {
      events.push_back(event);
      return true;
    });
    EXPECT_TRUE(result);
    EXPECT_EQ(result->get_header_value("Content-Type"), "application/x-ndjson");
    return events;
  }

  httplib::Result AskAndBeRefused() {
    auto result = Connect().Post("/playground/generate", "{}", "application/json");
    EXPECT_TRUE(result);
    return result;
  }

  // What every text means.
  absl::StatusOr<GenerateRequest> request() const {
    absl::MutexLock lock(&mu_);
    return request_;
  }
  void Mean(absl::StatusOr<GenerateRequest> request) {
    absl::MutexLock lock(&mu_);
    request_ = std::move(request);
  }

  // The port's thread lets go of a stream after its end.
  void AwaitPlace() {
    Mean(absl::InvalidArgumentError("nothing"));
    while (AskAndBeRefused()->status == 503) {
    }
  }

  mutable absl::Mutex mu_;
  absl::StatusOr<GenerateRequest> request_ ABSL_GUARDED_BY(mu_) = Generate({1, 2, 3, 4, 5}, 4);
  std::optional<Playground> playground_;
  std::optional<AdminServer> server_;
};

// The whole answer, in order: the prompt, then each token before the experts that it picked.
TEST_F(PlaygroundTest, TellsTokensAndTheExpertsOfEach) {
  GenerateRequest request = Generate({1, 2, 3, 4, 5}, 4);
  request.trace = ExpertTraceLevel::kFull;
  request.sampling.seed = UINT64_MAX;
  Mean(request);
  const ReferenceCandidate expected = GenerateAlone(request, 0, tokenizer_);

  const std::vector<json> events = AskForAll();

  ASSERT_EQ(events.size(), 1 + 2 * 4 + 1u);
  EXPECT_EQ(events[0]["seed"], "18446744073709551615");
  EXPECT_EQ(events[0]["max_tokens"], 4);
  std::vector<TokenId> sequence;
  for (const json& token : events[0]["prompt"]) sequence.push_back(token["id"]);
  EXPECT_EQ(sequence, request.prompt);
  EXPECT_EQ(events[0]["prompt"][1]["text"], "b");
  for (size_t i = 0; i < 4; ++i) {
    const json& picks = events[1 + 2 * i]["picks"];
    const size_t first = picks["first_position"];
    EXPECT_EQ(first, i == 0 ? 0 : sequence.size() - 1);
    EXPECT_EQ(picks["tokens"], i == 0 ? 5 : 1);
    for (size_t layer = 0; layer < kLayers.size(); ++layer) {
      FakeModel::Picks all;
      for (size_t at = first; at < sequence.size(); ++at) {
        const auto one = FakeModel::PicksOf(kLayers[layer], sequence[at], static_cast<int32_t>(at));
        all.ids.insert(all.ids.end(), one.ids.begin(), one.ids.end());
        all.weights.insert(all.weights.end(), one.weights.begin(), one.weights.end());
      }
      EXPECT_EQ(picks["layers"][layer]["ids"], all.ids);
      EXPECT_EQ(picks["layers"][layer]["weights"].get<std::vector<float>>(), all.weights);
    }
    const json& delta = events[2 + 2 * i]["delta"];
    EXPECT_EQ(delta["ids"], std::vector<TokenId>{expected.tokens[i]});
    sequence.push_back(expected.tokens[i]);
  }
  EXPECT_EQ(events.back()["finished"]["reason"], "length");
  EXPECT_EQ(events.back()["finished"]["tokens"], 4);
  ExpectNothingHeld();
}

TEST_F(PlaygroundTest, TellsTokensAloneWithoutATrace) {
  const std::vector<json> events = AskForAll();
  ASSERT_EQ(events.size(), 1 + 4 + 1u);
  for (size_t i = 1; i < 5; ++i) EXPECT_TRUE(events[i].contains("delta")) << events[i];
}

TEST_F(PlaygroundTest, SendsEachTokenWhenItIsThere) {
  model_->ShutGate();
  int tokens = 0;
  const auto result = Ask([&](const json& event) {
    tokens += static_cast<int>(event.contains("delta"));
    if (tokens < 3) model_->LetStepThrough();  // that of the next token, not before
    if (tokens == 3) model_->OpenGate();
    return true;
  });
  EXPECT_TRUE(result);
  EXPECT_EQ(tokens, 4);
}

TEST_F(PlaygroundTest, CancelsTheRequestOfAReaderThatIsGone) {
  Mean(Long());
  model_->ShutGate();
  const auto result = Ask([&](const json& event) {
    if (event.contains("prompt")) model_->LetStepThrough();
    return event.contains("prompt");
  });
  EXPECT_FALSE(result);
  model_->AwaitStep();
  AwaitPlace();
  model_->OpenGate();  // the second step goes on, and is the last one
  engine_->Drain(absl::InfiniteFuture());
  ExpectNothingHeld();
  EXPECT_EQ(model_->num_computed_tokens(), 3 + 1);
}

TEST_F(PlaygroundTest, AnswersOneAtATimeAndProbesMeanwhile) {
  model_->ShutGate();
  const auto result = Ask([&](const json& event) {
    if (!event.contains("prompt")) return true;
    const auto second = AskAndBeRefused();
    EXPECT_EQ(second->status, 503);
    EXPECT_EQ(second->get_header_value("Retry-After"), "1");
    EXPECT_THAT(second->body, HasSubstr("answering somebody else"));
    EXPECT_EQ(Connect().Get("/healthz")->status, 200);
    model_->OpenGate();
    return true;
  });
  EXPECT_TRUE(result);
  AwaitPlace();
}

TEST_F(PlaygroundTest, SaysWhatIsWrongAsTheReaderDoes) {
  const auto refusal = [this](const absl::Status& status) {
    Mean(status);
    return AskAndBeRefused();
  };
  EXPECT_EQ(refusal(absl::InvalidArgumentError("stop must stop"))->status, 400);
  EXPECT_EQ(refusal(absl::InvalidArgumentError("stop must stop"))->body, "stop must stop\n");
  EXPECT_EQ(refusal(absl::OutOfRangeError("too long"))->status, 400);
  EXPECT_EQ(refusal(absl::FailedPreconditionError("off"))->status, 400);
  EXPECT_EQ(refusal(absl::NotFoundError("no such model"))->status, 404);
  EXPECT_EQ(refusal(absl::ResourceExhaustedError("full"))->status, 429);
  GenerateRequest request = Generate({1, 2}, 3);
  request.candidates = 2;
  Mean(request);
  EXPECT_EQ(AskAndBeRefused()->status, 400);
  request = Generate({1, 2}, 3);
  request.alternatives = 0;
  Mean(request);
  EXPECT_THAT(AskAndBeRefused()->body, HasSubstr("no log-probabilities"));
  Mean(Generate({1, 2}, 1000));
  EXPECT_THAT(AskAndBeRefused()->body, HasSubstr("1000"));  // the engine's own refusal
  Mean(Generate({1, 2}, 3));
  EXPECT_EQ(AskForAll().size(), 5u);  // none of them keeps the place
}

TEST_F(PlaygroundTest, TellsThatTheServerDrains) {
  engine_->StopAdmission();
  const auto result = AskAndBeRefused();
  EXPECT_EQ(result->status, 503);
  EXPECT_THAT(result->body, HasSubstr("draining"));
}

// Whoever stops the port afterwards cuts nothing off.
TEST_F(PlaygroundTest, IsDrainedWhenTheLastAnswerIsSent) {
  Mean(Long());
  model_->ShutGate();
  std::string last;
  std::thread stop;
  const auto result = Ask([&](const json& event) {
    if (event.contains("prompt")) {
      model_->AwaitStep();
      stop = std::thread([this] {
        model_->OpenGate();
        engine_->Drain(absl::InfinitePast());  // ends what runs
        playground_->Drain(absl::Minutes(1));
        server_.reset();
      });
    }
    last = event.begin().key();
    return true;
  });
  stop.join();
  EXPECT_TRUE(result) << "was cut off";
  EXPECT_THAT(last, AnyOf("error", "finished"));  // as far as the model came
}

TEST_F(PlaygroundTest, TellsHowARequestFailedOnItsWay) {
  model_->FailNextStep(absl::InternalError("a step broke"));
  const std::vector<json> events = AskForAll();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1]["error"]["code"], "INTERNAL");
  EXPECT_THAT(events[1]["error"]["message"].get<std::string>(), HasSubstr("the model failed"));
}

// Nobody reads: the engine parks the request, and goes on when somebody does.
TEST(PlaygroundEventsTest, HaveRoomForAFewUntilTheyAreTaken) {
  PlaygroundEvents events;
  for (size_t i = 0; i < PlaygroundEvents::kMaxEvents; ++i) {
    EXPECT_TRUE(events.HasRoom());
    events.OnDelta({.text = "x", .tokens = {1}});
  }
  EXPECT_FALSE(events.HasRoom());
  const PlaygroundEvents::Taken taken = events.Take(absl::ZeroDuration());
  EXPECT_EQ(taken.events.size(), PlaygroundEvents::kMaxEvents);
  EXPECT_TRUE(taken.has_room_again);
  EXPECT_TRUE(events.HasRoom());
  EXPECT_FALSE(events.Take(absl::ZeroDuration()).has_room_again);
}

}  // namespace
}  // namespace peerage
