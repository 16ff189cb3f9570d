// What a request asks of the model's routers: what is refused, and with which words; that it
// reaches the tokens that it is about; that it comes back with the trace.
#include "server/rpc/request/expert_control.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/little_endian.h"
#include "model/experts/expert_usage.h"
#include "server/rpc/request/answer_size.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Experts of each head, one pool for both heads, a mixture.
const std::vector<ExpertLayer> kControlledLayers = {
    {.layer = 0,
     .kind = ExpertLayerKind::kPeer,
     .num_experts = 18,
     .heads = 2,
     .top_k = 3,
     .expert_sets = 2},
    {.layer = 1,
     .kind = ExpertLayerKind::kProductKeyMemory,
     .num_experts = 50,
     .heads = 2,
     .top_k = 1},
    {.layer = 1, .kind = ExpertLayerKind::kMixtureFfn, .num_experts = 3, .heads = 1, .top_k = 2}};

TestServerOptions WithControlledExperts() {
  TestServerOptions options;
  options.model.expert_layers = kControlledLayers;
  return options;
}

// The fake model picks from all experts, whatever the head.
TestServerOptions WithOnePool() {
  TestServerOptions options = WithControlledExperts();
  options.model.expert_layers[0].expert_sets = 1;
  return options;
}

v1::LayerControl& AddLayer(v1::ExpertControl& control, uint32_t layer, v1::ExpertLayerKind kind) {
  v1::LayerControl& added = *control.add_layers();
  added.set_layer(layer);
  added.set_kind(kind);
  return added;
}

template <typename T>
std::string Bytes(const std::vector<T>& values) {
  std::string bytes;
  AppendLittleEndian(values, bytes);
  return bytes;
}

// Two tokens of the mixture.
v1::ForcedPicks MixturePicks(const std::vector<uint32_t>& ids, const std::vector<float>& scores) {
  v1::ForcedPicks forced;
  forced.set_tokens(static_cast<uint32_t>(ids.size() / 2));
  forced.set_heads(1);
  forced.set_top_k(2);
  forced.set_expert_ids(Bytes(ids));
  forced.set_scores(Bytes(scores));
  return forced;
}

struct ControlCase {
  std::string path;  // the one violation; empty: none
  std::string rule;
  std::function<void(v1::LayerControl& mixture, v1::LayerControl& peer)> change;
};

void AddIds(v1::LayerControl& layer, uint32_t first, uint32_t end) {
  for (uint32_t id = first; id < end; ++id) layer.add_masked_ids(id);
}

std::vector<ControlCase> ControlCases() {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::string mixture = "expert_control.layers[0]", peer = "expert_control.layers[1]";
  return {
      {"", "", [](auto& m, auto&) { m.add_masked_ids(2); }},
      {"", "", [](auto& m, auto&) { AddIds(m, 1, 3); }},
      {"", "", [](auto&, auto& p) { AddIds(p, 1, 17); }},
      {"", "", [](auto& m, auto&) { m.set_top_k(2); }},
      {"", "", [](auto& m, auto&) { (*m.mutable_bias())[2] = -100; }},
      {"", "",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({2, 0, 1, 2}, {});
       }},
      {"", "",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({2, kNoExpert}, {1, kNan});
       }},
      {mixture + ".masked_ids[1]", "must be below the layer's 3 experts",
       [](auto& m, auto&) { AddIds(m, 2, 4); }},
      {mixture + ".masked_ids", "must leave an expert", [](auto& m, auto&) { AddIds(m, 0, 3); }},
      {peer + ".masked_ids", "must leave an expert of each head",
       [](auto&, auto& p) { AddIds(p, 9, 18); }},
      {mixture + ".masked_ids", "must have at most 4096 ids",
       [](auto& m, auto&) {
         for (int i = 0; i < 4097; ++i) m.add_masked_ids(1);
       }},
      {mixture + ".bias[3]", "must be below the layer's 3 experts",
       [](auto& m, auto&) { (*m.mutable_bias())[3] = 1; }},
      {mixture + ".bias[1]", "must be in [-100, 100]",
       [](auto& m, auto&) { (*m.mutable_bias())[1] = kNan; }},
      {mixture + ".bias[0]", "must be in [-100, 100]",
       [](auto& m, auto&) { (*m.mutable_bias())[0] = 101; }},
      {mixture + ".top_k", "must be in [1, 2], of the layer",
       [](auto& m, auto&) { m.set_top_k(0); }},
      {mixture + ".top_k", "must be in [1, 2], of the layer",
       [](auto& m, auto&) { m.set_top_k(3); }},
      {mixture, "must name an expert layer of the model by layer and kind",
       [](auto& m, auto&) { m.set_layer(0); }},
      {mixture, "must name an expert layer of the model by layer and kind",
       [](auto& m, auto&) { m.clear_kind(); }},
      {peer, "must name a layer that none before it names", [](auto& m, auto& p) { p = m; }},
      {mixture + ".forced.heads", "must be 1, the layer's",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1}, {});
         m.mutable_forced()->set_heads(2);
       }},
      {mixture + ".forced.top_k", "must be 2, the layer's",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1}, {});
         m.mutable_forced()->set_top_k(1);
       }},
      {mixture + ".forced.expert_ids", "must have 4 bytes for each token, head and pick",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1}, {});
         m.mutable_forced()->mutable_expert_ids()->pop_back();
       }},
      {mixture + ".forced.scores", "must be empty or have 4 bytes for each token, head and pick",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1}, {1});
       }},
      {mixture + ".forced.scores", "must be finite",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1}, {1, kNan});
       }},
      {mixture + ".forced.expert_ids",
       "must name an expert once in a head, here of token 1, head 0",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1, 2, 2}, {});
       }},
      {mixture + ".forced.expert_ids", "must be ids of the head's experts, here of token 0, head 0",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({3, 0}, {});
       }},
      {peer + ".forced.expert_ids", "must be ids of the head's experts, here of token 0, head 1",
       [](auto&, auto& p) {
         p.mutable_forced()->set_tokens(1);
         p.mutable_forced()->set_heads(2);
         p.mutable_forced()->set_top_k(3);
         p.mutable_forced()->set_expert_ids(Bytes<uint32_t>({0, 1, 8, 9, 10, 8}));
       }},
      {mixture + ".forced.tokens",
       "must end at 3 at most, behind the last token that can be forced",
       [](auto& m, auto&) {
         *m.mutable_forced() = MixturePicks({0, 1, 0, 1}, {});
         m.mutable_forced()->set_first_position(2);
       }},
  };
}

// A generation that computes 3 tokens.
v1::GenerateRequest RequestUnder(const v1::ExpertControl& control) {
  v1::GenerateRequest request = GreedyRequest(2);
  *request.mutable_expert_control() = control;
  return request;
}

TEST(ExpertControlTest, WhatIsWrongIsRefusedByName) {
  TestServer server(WithControlledExperts());
  for (const ControlCase& c : ControlCases()) {
    SCOPED_TRACE(c.path + " " + c.rule);
    v1::ExpertControl control;
    v1::LayerControl mixture, peer;
    mixture.set_layer(1);
    mixture.set_kind(v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
    peer.set_kind(v1::EXPERT_LAYER_KIND_PEER);
    c.change(mixture, peer);
    *control.add_layers() = mixture;
    *control.add_layers() = peer;
    grpc::ClientContext context;
    v1::GenerateResponse response;
    const grpc::Status status =
        server.inference().Generate(&context, RequestUnder(control), &response);
    if (c.path.empty()) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      continue;
    }
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(ViolatedFields(status), ElementsAre(c.path));
    EXPECT_EQ(status.error_message(), c.path + " " + c.rule);
  }
  server.AwaitIdle();
}

TEST(ExpertControlTest, PathsLeadThroughTheMessageThatCarriesTheRequest) {
  TestServer server(WithControlledExperts());
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(2);
  AddLayer(*request.mutable_request()->mutable_expert_control(), 1,
           v1::EXPERT_LAYER_KIND_MIXTURE_FFN)
      .set_top_k(9);
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_THAT(ViolatedFields(reader->Finish()),
              ElementsAre("request.expert_control.layers[0].top_k"));
}

// What several candidates compute beside the prompt is each one's own.
TEST(ExpertControlTest, OfSeveralCandidatesThePromptAloneIsForced) {
  TestServer server(WithControlledExperts());
  v1::ExpertControl control;
  v1::LayerControl& layer = AddLayer(control, 1, v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  *layer.mutable_forced() = MixturePicks({0, 1, 2, 0, 1, 2}, {});
  v1::GenerateRequest request = RequestUnder(control);
  v1::GenerateResponse response;
  grpc::ClientContext one;
  EXPECT_TRUE(server.inference().Generate(&one, request, &response).ok());
  request.mutable_sampling()->set_candidates(2);
  grpc::ClientContext two;
  EXPECT_THAT(server.inference().Generate(&two, request, &response).error_message(),
              HasSubstr("forced.tokens must end at 2 at most"));
}

TEST(ExpertControlTest, WhatIsTooMuchOrImpossibleIsRefused) {
  ServedModel model{.description = {.device = "cuda:0", .expert_layers = kControlledLayers}};
  v1::ExpertControl control;
  EXPECT_TRUE(ConvertExpertControl(control, model, 2, "").ok()) << "nothing is asked";
  v1::LayerControl& layer = AddLayer(control, 1, v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  *layer.mutable_forced() = MixturePicks({0, 1, 2, 0}, {.5f, .5f, 1, 0});

  EXPECT_EQ(ConvertExpertControl(control, model, 2, "").status(),
            absl::UnimplementedError("expert_control: not on device cuda:0"));
  model.description.takes_expert_control = true;
  EXPECT_TRUE(ConvertExpertControl(control, model, 2, "").ok());
  model.trace_limits.max_bytes = 31;
  EXPECT_EQ(ConvertExpertControl(control, model, 2, "").status(),
            absl::OutOfRangeError("expert_control: the forced picks take 32 bytes, the server's "
                                  "limit is 31 (--max-trace-mib)"));
}

TEST(ExpertControlTest, BecomesWhatTheModelIsAsked) {
  const ServedModel model{
      .description = {.expert_layers = kControlledLayers, .takes_expert_control = true}};
  v1::ExpertControl control;
  v1::LayerControl& layer = AddLayer(control, 1, v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  for (const uint32_t id : {2, 0, 2}) layer.add_masked_ids(id);
  (*layer.mutable_bias())[2] = 3;
  (*layer.mutable_bias())[1] = -4;
  layer.set_top_k(1);
  *layer.mutable_forced() = MixturePicks({kNoExpert, 1, 2, 0}, {7, .5f, 1, 0});
  layer.mutable_forced()->set_first_position(5);

  const auto converted = ConvertExpertControl(control, model, 7, "");

  ASSERT_TRUE(converted.ok()) << converted.status();
  ASSERT_EQ(converted->layers.size(), 3u);
  EXPECT_THAT(converted->layers[0].masked_ids, IsEmpty());
  const LayerControl& asked = converted->layers[2];
  EXPECT_THAT(asked.masked_ids, ElementsAre(0, 2));
  ASSERT_EQ(asked.biases.size(), 2u);
  EXPECT_EQ(asked.biases[0].id, 1u);
  EXPECT_EQ(asked.biases[0].logit, -4);
  EXPECT_EQ(asked.biases[1].logit, 3);
  EXPECT_EQ(asked.top_k, 1u);
  EXPECT_EQ(asked.forced.first_token, 5u);
  EXPECT_EQ(asked.forced.tokens, 2u);
  EXPECT_THAT(asked.forced.ids, ElementsAre(1, kNoExpert, 2, 0));
  EXPECT_THAT(asked.forced.weights, ElementsAre(.5f, 0, 1, 0));
}

TEST(ExpertControlTest, FingerprintsTellControlsApart) {
  ExpertControl control;
  EXPECT_EQ(ControlFingerprint(control), "");
  control.layers.resize(2);
  std::set<std::string> seen = {ControlFingerprint(control)};
  EXPECT_EQ(seen.begin()->size(), 64u);
  const auto expect_new = [&] { EXPECT_TRUE(seen.insert(ControlFingerprint(control)).second); };
  control.layers[1].masked_ids = {3};
  expect_new();
  std::swap(control.layers[0], control.layers[1]);
  expect_new();
  control.layers[0].biases = {{3, 1}};
  expect_new();
  control.layers[0].top_k = 1;
  expect_new();
  control.layers[1].forced = {.tokens = 1, .ids = {1, 2}};
  expect_new();
  control.layers[1].forced.first_token = 1;
  expect_new();
  control.layers[1].forced.weights = {1, 2};
  expect_new();
  EXPECT_EQ(seen.count(ControlFingerprint(ExpertControl(control))), 1u);
}

// The picks of one request forced on another.
v1::ExpertControl ReplayOf(const v1::ExpertTrace& trace) {
  v1::ExpertControl control;
  for (const v1::LayerTrace& traced : trace.layers()) {
    v1::ForcedPicks& forced = *AddLayer(control, traced.layer(), traced.kind()).mutable_forced();
    forced.set_tokens(traced.tokens());
    forced.set_heads(traced.heads());
    forced.set_top_k(traced.top_k());
    forced.set_expert_ids(traced.expert_ids());
    forced.set_scores(traced.scores());
  }
  return control;
}

void ExpectSamePicks(const v1::ExpertTrace& actual, const v1::ExpertTrace& expected) {
  ASSERT_EQ(actual.layers_size(), expected.layers_size());
  for (int i = 0; i < actual.layers_size(); ++i) {
    EXPECT_TRUE(MessageDifferencer::Equals(actual.layers(i), expected.layers(i))) << i;
  }
}

v1::ScoreRequest ScoreOf(const std::string& context,
                         const std::vector<std::string>& continuations) {
  v1::ScoreRequest request;
  if (context.empty()) request.mutable_context()->set_add_bos(false);
  if (!context.empty()) request.mutable_context()->set_text(context);
  for (const std::string& text : continuations) request.add_continuations()->set_text(text);
  request.set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  return request;
}

// Tokens are forced in the order of a trace, however they are cut into steps.
TEST(ExpertControlTest, ForcesATraceOnOtherTokensInItsOrder) {
  for (const int32_t budget : {1, 2, 64}) {
    TestServerOptions options = WithOnePool();
    options.engine.max_batch_tokens = budget;
    TestServer server(options);
    for (const std::string context : {"abc", ""}) {
      grpc::ClientContext first, second;
      v1::ScoreResponse played, replayed;
      ASSERT_TRUE(
          server.inference().Score(&first, ScoreOf(context, {"dddd", "e", "fghi"}), &played).ok());
      v1::ScoreRequest request = ScoreOf(context.empty() ? "" : "xyz", {"hgfe", "a", "bbcb"});
      *request.mutable_expert_control() = ReplayOf(played.expert_trace());
      const grpc::Status status = server.inference().Score(&second, request, &replayed);
      ASSERT_TRUE(status.ok()) << status.error_message();
      ExpectSamePicks(replayed.expert_trace(), played.expert_trace());
      EXPECT_TRUE(MessageDifferencer::Equals(replayed.expert_trace().expert_control(),
                                             request.expert_control()));
    }
  }
}

TEST(ExpertControlTest, ForcesATraceOnAnotherGenerationAndTellsOfItOnce) {
  TestServer server(WithOnePool());
  v1::GenerateRequest request = GreedyRequest(7);
  request.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  grpc::ClientContext first, second, third, fourth;
  v1::GenerateResponse played, replayed;
  ASSERT_TRUE(server.inference().Generate(&first, request, &played).ok());
  EXPECT_FALSE(played.expert_trace().has_expert_control());

  request.mutable_prompt()->set_text("gh");
  *request.mutable_expert_control() = ReplayOf(played.expert_trace());
  ASSERT_TRUE(server.inference().Generate(&second, request, &replayed).ok());
  ExpectSamePicks(replayed.expert_trace(), played.expert_trace());
  EXPECT_TRUE(MessageDifferencer::Equals(replayed.expert_trace().expert_control(),
                                         request.expert_control()));

  // A summary tells of it, too, and a stream with its first finish alone.
  v1::GenerateStreamRequest stream_request;
  *stream_request.mutable_request() = request;
  v1::GenerateRequest& streamed = *stream_request.mutable_request();
  streamed.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_SUMMARY);
  streamed.mutable_sampling()->set_candidates(2);
  for (v1::LayerControl& layer : *streamed.mutable_expert_control()->mutable_layers()) {
    layer.clear_forced();
  }
  const auto reader = server.inference().GenerateStream(&third, stream_request);
  std::vector<bool> told;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) {
    if (!message.has_finished()) continue;
    const v1::ExpertTrace& trace = message.finished().expert_trace();
    told.push_back(trace.has_expert_control());
    if (told.size() > 1) continue;
    EXPECT_TRUE(MessageDifferencer::Equals(trace.expert_control(), streamed.expert_control()));
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(told, ElementsAre(true, false));

  request.mutable_output()->clear_expert_trace();
  ASSERT_TRUE(server.inference().Generate(&fourth, request, &replayed).ok());
  EXPECT_FALSE(replayed.has_expert_trace());
}

// Picks that are none are in no figure.
TEST(ExpertControlTest, TracesCountPicksThatAreThere) {
  TestServer server(WithControlledExperts());
  v1::ExpertControl control;
  v1::LayerControl& layer = AddLayer(control, 1, v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  *layer.mutable_forced() =
      MixturePicks({kNoExpert, 1, kNoExpert, kNoExpert, 2, 0}, {1, .5f, 1, 1, 1, 0});
  v1::GenerateRequest request = RequestUnder(control);
  request.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  ASSERT_TRUE(server.inference().Generate(&context, request, &response).ok());

  const v1::LayerTrace& trace = response.expert_trace().layers(2);
  EXPECT_THAT(Values<uint32_t>(trace.expert_ids()),
              ElementsAre(1, kNoExpert, kNoExpert, kNoExpert, 2, 0));
  EXPECT_EQ(trace.selections(), 3u);
  EXPECT_EQ(trace.distinct_experts(), 3u);
  EXPECT_THAT(trace.top_expert_ids(), ElementsAre(2, 1, 0));
}

// An answer holds its trace, and the control with it.
TEST(ExpertControlTest, AnAnswerHasRoomForTraceAndControl) {
  ServedModel model{.description = {.expert_layers = kControlledLayers}};
  model.trace_limits.level = ExpertTraceLevel::kFull;
  GenerateRequest request;
  request.prompt = {1};
  request.stopping.max_tokens = 20'000;  // of 80 bytes each in a trace
  request.trace = ExpertTraceLevel::kFull;
  request.expert_control.layers.resize(3);
  EXPECT_TRUE(CheckAnswer(request, model).ok());

  request.expert_control.layers[2].forced.ids.resize(400'000);  // of 8 bytes each
  EXPECT_THAT(CheckAnswer(request, model),
              absl::OutOfRangeError(
                  "expert_trace: picks and the expert_control that is answered with them could "
                  "take 4800192 bytes, the limit of an answer is 4194304"));
  EXPECT_FALSE(CheckStreamedAnswer(request, model).ok());
  request.trace = ExpertTraceLevel::kNone;
  EXPECT_TRUE(CheckAnswer(request, model).ok());
}

}  // namespace
}  // namespace peerage
