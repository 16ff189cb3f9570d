// Bad input: every field of every request, below, at and above its range. Each refusal names its
// field, and the server serves on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// A change to a valid request, and what it must lead to.
template <typename Request>
struct FieldCase {
  std::string name;
  std::function<void(Request&)> change;
  grpc::StatusCode code;
  std::string path;  // the one violation; empty: no BadRequest
};

template <typename Request>
FieldCase<Request> Ok(std::string name, std::function<void(Request&)> change) {
  return {std::move(name), std::move(change), grpc::StatusCode::OK, ""};
}

template <typename Request>
FieldCase<Request> Bad(std::string path, std::string name, std::function<void(Request&)> change) {
  return {std::move(name), std::move(change), grpc::StatusCode::INVALID_ARGUMENT, std::move(path)};
}

// Runs every case through `call` on one server.
template <typename Request>
void RunCases(TestServer& server, const Request& valid,
              const std::vector<FieldCase<Request>>& cases,
              const std::function<grpc::Status(const Request&)>& call) {
  for (const FieldCase<Request>& c : cases) {
    SCOPED_TRACE(c.path + ": " + c.name);
    Request request = valid;
    c.change(request);
    const grpc::Status status = call(request);
    EXPECT_EQ(status.error_code(), c.code) << status.error_message();
    if (c.path.empty()) {
      EXPECT_THAT(ViolatedFields(status), IsEmpty());
    } else {
      EXPECT_THAT(ViolatedFields(status), ElementsAre(c.path));
    }
    server.ExpectHealthy();
  }
  server.AwaitIdle();
}

using Generate = v1::GenerateRequest;
using Score = v1::ScoreRequest;

std::vector<FieldCase<Generate>> PromptCases() {
  const auto ids = [](std::vector<uint32_t> tokens) {
    return [tokens](Generate& r) {
      r.mutable_prompt()->mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
    };
  };
  const auto chat = [](std::string role) {
    return [role](Generate& r) {
      v1::ChatMessage& message = *r.mutable_prompt()->mutable_chat()->add_messages();
      message.set_role(role);
      message.set_content("a");
    };
  };
  return {
      Bad<Generate>("prompt", "none", [](Generate& r) { r.clear_prompt(); }),
      Bad<Generate>("prompt", "no input", [](Generate& r) { r.mutable_prompt()->clear_text(); }),
      Bad<Generate>("prompt", "empty text", [](Generate& r) { r.mutable_prompt()->set_text(""); }),
      Ok<Generate>("empty text after BOS",
                   [](Generate& r) {
                     r.mutable_prompt()->set_text("");
                     r.mutable_prompt()->set_add_bos(true);
                   }),
      Bad<Generate>("prompt.text", "text that the tokenizer refuses",
                    [](Generate& r) { r.mutable_prompt()->set_text("A"); }),
      Bad<Generate>("prompt", "no ids", ids({})),
      Ok<Generate>("the last id", ids({31})),
      Bad<Generate>("prompt.token_ids.ids[1]", "an id past the vocabulary", ids({31, 32})),
      Bad<Generate>("prompt.token_ids.ids[0]", "the largest id", ids({0xffffffff})),
      Ok<Generate>("user", chat("user")),
      Ok<Generate>("system", chat("system")),
      Ok<Generate>("assistant", chat("assistant")),
      Bad<Generate>("prompt.chat.messages[0].role", "unknown", chat("tool")),
      Bad<Generate>("prompt.chat.messages[0].role", "empty", chat("")),
      Bad<Generate>("prompt.chat.messages", "no messages",
                    [](Generate& r) { r.mutable_prompt()->mutable_chat(); }),
  };
}

std::vector<FieldCase<Generate>> SamplingCases() {
  const auto set = [](auto setter, auto value) {
    return [setter, value](Generate& r) { (r.mutable_sampling()->*setter)(value); };
  };
  std::vector<FieldCase<Generate>> cases;
  // Floats: the values inside the range, and outside of it beside what no range holds.
  const auto add_float = [&](std::string path, void (v1::Sampling::*setter)(float),
                             std::vector<float> good, std::vector<float> bad) {
    for (const float v : good)
      cases.push_back(Ok<Generate>(path + std::to_string(v), set(setter, v)));
    bad.insert(bad.end(), {kNan, kInf, -kInf});
    for (const float v : bad)
      cases.push_back(Bad<Generate>(path, std::to_string(v), set(setter, v)));
  };
  add_float("sampling.temperature", &v1::Sampling::set_temperature, {0, 0.01f, 10},
            {-0.01f, 0.009f, 10.01f});
  add_float("sampling.top_p", &v1::Sampling::set_top_p, {1e-6f, 1}, {0, -0.1f, 1.001f});
  add_float("sampling.min_p", &v1::Sampling::set_min_p, {0, 0.999f}, {-0.001f, 1});
  add_float("sampling.repetition_penalty", &v1::Sampling::set_repetition_penalty, {0.001f, 10},
            {0, -1, 10.01f});
  add_float("sampling.frequency_penalty", &v1::Sampling::set_frequency_penalty, {-10, 0, 10},
            {-10.01f, 10.01f});
  add_float("sampling.presence_penalty", &v1::Sampling::set_presence_penalty, {-10, 0, 10},
            {-10.01f, 10.01f});

  for (const uint32_t n : {1u, 16u}) {
    cases.push_back(Ok<Generate>("candidates", set(&v1::Sampling::set_candidates, n)));
  }
  for (const uint32_t n : {0u, 17u, 0xffffffffu}) {
    cases.push_back(Bad<Generate>("sampling.candidates", std::to_string(n),
                                  set(&v1::Sampling::set_candidates, n)));
  }
  for (const uint32_t n : {0u, 1u, 0xffffffffu}) {
    cases.push_back(Ok<Generate>("top_k", set(&v1::Sampling::set_top_k, n)));
  }
  for (const uint64_t n : {uint64_t{0}, ~uint64_t{0}}) {
    cases.push_back(Ok<Generate>("seed", set(&v1::Sampling::set_seed, n)));
  }
  const auto bias = [](uint32_t id, float value) {
    return [id, value](Generate& r) { (*r.mutable_sampling()->mutable_logit_bias())[id] = value; };
  };
  for (const float v : {-100.0f, 100.0f}) cases.push_back(Ok<Generate>("bias", bias(31, v)));
  for (const float v : {-100.01f, 100.01f, kNan, kInf}) {
    cases.push_back(Bad<Generate>("sampling.logit_bias[31]", std::to_string(v), bias(31, v)));
  }
  cases.push_back(Bad<Generate>("sampling.logit_bias[32]", "unknown id", bias(32, 1)));
  return cases;
}

std::vector<FieldCase<Generate>> StoppingCases() {
  const auto max_tokens = [](uint32_t n) {
    return [n](Generate& r) { r.mutable_stopping()->set_max_tokens(n); };
  };
  const auto min_tokens = [](uint32_t n) {
    return [n](Generate& r) { r.mutable_stopping()->set_min_tokens(n); };
  };
  const auto stops = [](int count, size_t bytes) {
    return [count, bytes](Generate& r) {
      for (int i = 0; i < count; ++i) r.mutable_stopping()->add_stop(std::string(bytes, 'q'));
    };
  };
  const auto stop_ids = [](int count, uint32_t id) {
    return [count, id](Generate& r) {
      for (int i = 0; i < count; ++i) r.mutable_stopping()->add_stop_token_ids(id);
    };
  };
  const grpc::StatusCode out_of_range = grpc::StatusCode::OUT_OF_RANGE;
  return {
      Bad<Generate>("stopping.max_tokens", "0", max_tokens(0)),
      Ok<Generate>("what the context leaves", max_tokens(254)),
      {"one more than the context leaves", max_tokens(255), out_of_range, ""},
      {"the largest", max_tokens(0xffffffff), out_of_range, ""},
      {"a prompt that fills the context",
       [](Generate& r) {
         r.mutable_prompt()->set_text(std::string(256, 'a'));
         r.mutable_stopping()->clear_max_tokens();
       },
       out_of_range, ""},
      {"a prompt longer than the context",
       [](Generate& r) { r.mutable_prompt()->set_text(std::string(5000, 'a')); }, out_of_range, ""},
      Ok<Generate>("at most max_tokens", min_tokens(2)),
      Bad<Generate>("stopping.min_tokens", "more than max_tokens", min_tokens(3)),
      Bad<Generate>("stopping.min_tokens", "more than the default of max_tokens",
                    [](Generate& r) {
                      r.mutable_stopping()->clear_max_tokens();
                      r.mutable_stopping()->set_min_tokens(129);
                    }),
      Ok<Generate>("16 stop strings of 256 bytes", stops(16, 256)),
      Bad<Generate>("stopping.stop", "17 stop strings", stops(17, 1)),
      Bad<Generate>("stopping.stop[0]", "257 bytes", stops(1, 257)),
      Bad<Generate>("stopping.stop[0]", "empty", stops(1, 0)),
      Ok<Generate>("64 stop ids", stop_ids(64, 31)),
      Bad<Generate>("stopping.stop_token_ids", "65 stop ids", stop_ids(65, 31)),
      Bad<Generate>("stopping.stop_token_ids[0]", "an id past the vocabulary", stop_ids(1, 32)),
      Ok<Generate>("eos ends", [](Generate& r) { r.mutable_stopping()->set_ignore_eos(false); }),
  };
}

// The same fields in both requests.
template <typename Request>
std::vector<FieldCase<Request>> SchedulingCases() {
  const auto priority = [](int32_t n) {
    return [n](Request& r) { r.mutable_scheduling()->set_priority(n); };
  };
  const auto timeout = [](int64_t seconds, int32_t nanos) {
    return [seconds, nanos](Request& r) {
      r.mutable_scheduling()->mutable_queue_timeout()->set_seconds(seconds);
      r.mutable_scheduling()->mutable_queue_timeout()->set_nanos(nanos);
    };
  };
  const auto tenant = [](size_t bytes) {
    return [bytes](Request& r) { r.mutable_scheduling()->set_tenant(std::string(bytes, 't')); };
  };
  const auto salt = [](size_t bytes) {
    return [bytes](Request& r) { r.mutable_scheduling()->set_cache_salt(std::string(bytes, 's')); };
  };
  const std::string queue_timeout = "scheduling.queue_timeout";
  return {
      Ok<Request>("-100", priority(-100)),
      Ok<Request>("100", priority(100)),
      Bad<Request>("scheduling.priority", "-101", priority(-101)),
      Bad<Request>("scheduling.priority", "101", priority(101)),
      Ok<Request>("128 bytes", tenant(128)),
      Bad<Request>("scheduling.tenant", "129 bytes", tenant(129)),
      Ok<Request>("128 bytes", salt(128)),
      Bad<Request>("scheduling.cache_salt", "129 bytes", salt(129)),
      Ok<Request>("a nanosecond", timeout(0, 1)),
      Ok<Request>("the longest duration", timeout(315'576'000'000, 0)),
      Bad<Request>(queue_timeout, "zero", timeout(0, 0)),
      Bad<Request>(queue_timeout, "negative", timeout(-1, 0)),
      Bad<Request>(queue_timeout, "negative nanos", timeout(0, -1)),
      Bad<Request>(queue_timeout, "mixed signs", timeout(1, -1)),
      Bad<Request>(queue_timeout, "a second of nanos", timeout(0, 1'000'000'000)),
      Bad<Request>(queue_timeout, "too long", timeout(315'576'000'001, 0)),
      Bad<Request>(queue_timeout, "the largest", timeout(INT64_MAX, INT32_MAX)),
  };
}

// The same fields in both requests: of a model of one layer, and 3 tokens that are computed.
template <typename Request>
std::vector<FieldCase<Request>> HiddenCases() {
  const auto hidden = [](std::vector<uint32_t> layers, std::vector<uint32_t> positions) {
    return [layers, positions](Request& r) {
      v1::HiddenStatesRequest& wanted = *r.mutable_hidden_states();
      wanted.mutable_layers()->Add(layers.begin(), layers.end());
      wanted.mutable_positions()->Add(positions.begin(), positions.end());
    };
  };
  const auto all = [](bool prompt, bool generated) {
    return [prompt, generated](Request& r) {
      r.mutable_hidden_states()->add_layers(1);
      r.mutable_hidden_states()->set_prompt(prompt);
      r.mutable_hidden_states()->set_generated(generated);
    };
  };
  return {
      Ok<Request>("every layer and position", hidden({0, 1, 2}, {0, 1, 2})),
      Ok<Request>("all of the prompt", all(true, false)),
      Ok<Request>("all that is generated", all(false, true)),
      Bad<Request>("hidden_states.layers", "no layer", hidden({}, {0})),
      Bad<Request>("hidden_states.layers[1]", "beyond the final norm", hidden({0, 3}, {0})),
      Bad<Request>("hidden_states.layers[1]", "twice", hidden({1, 1}, {0})),
      Bad<Request>("hidden_states.layers[2]", "descending", hidden({0, 2, 1}, {0})),
      Bad<Request>("hidden_states.positions", "no position", all(false, false)),
      Bad<Request>("hidden_states.positions[1]", "twice", hidden({1}, {0, 0})),
      Bad<Request>("hidden_states.positions[2]", "descending", hidden({1}, {0, 2, 1})),
      Bad<Request>("hidden_states.positions[1]", "never computed", hidden({1}, {1, 3})),
      Bad<Request>("hidden_states.positions[0]", "the largest", hidden({1}, {UINT32_MAX})),
  };
}

template <typename Request>
std::vector<FieldCase<Request>> ModelCases() {
  const grpc::StatusCode not_found = grpc::StatusCode::NOT_FOUND;
  const auto named = [](std::string name) { return [name](Request& r) { r.set_model(name); }; };
  return {Ok<Request>("its name", named("fake")),
          {"another name", named("other"), not_found, ""},
          {"a longer name", named("fake2"), not_found, ""},
          {"an endless name", named(std::string(100'000, 'x')), not_found, ""}};
}

template <typename Case>
std::vector<Case> operator+(std::vector<Case> a, const std::vector<Case>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<FieldCase<Generate>> GenerateCases() {
  const auto logprobs = [](uint32_t n) {
    return [n](Generate& r) { r.mutable_output()->set_logprobs(n); };
  };
  const auto trace = [](int level) {
    return [level](Generate& r) {
      r.mutable_output()->set_expert_trace(static_cast<v1::ExpertTraceLevel>(level));
    };
  };
  const std::vector<FieldCase<Generate>> output = {
      Ok<Generate>("0", logprobs(0)),
      Ok<Generate>("20", logprobs(20)),
      Bad<Generate>("output.logprobs", "21", logprobs(21)),
      Bad<Generate>("output.logprobs", "the largest", logprobs(0xffffffff)),
      Ok<Generate>("prompt logprobs",
                   [](Generate& r) { r.mutable_output()->set_prompt_logprobs(true); }),
      Ok<Generate>("full trace", trace(v1::EXPERT_TRACE_LEVEL_FULL)),
      Bad<Generate>("output.expert_trace", "4", trace(4)),
      Bad<Generate>("output.expert_trace", "-1", trace(-1)),
  };
  return ModelCases<Generate>() + PromptCases() + SamplingCases() + StoppingCases() + output +
         SchedulingCases<Generate>() + HiddenCases<Generate>();
}

TEST(RequestFieldsTest, GenerateNamesEveryFieldThatIsOutOfItsRange) {
  TestServer server;
  RunCases<Generate>(server, GreedyRequest(2), GenerateCases(), [&](const Generate& request) {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    return server.inference().Generate(&context, request, &response);
  });
}

TEST(RequestFieldsTest, GenerateStreamChecksTheSameFieldsBelowItsRequest) {
  TestServer server;
  std::vector<FieldCase<Generate>> cases = GenerateCases();
  for (FieldCase<Generate>& c : cases) {
    if (!c.path.empty()) c.path = "request." + c.path;
  }
  RunCases<Generate>(server, GreedyRequest(2), cases, [&](const Generate& request) {
    grpc::ClientContext context;
    v1::GenerateStreamRequest stream_request;
    *stream_request.mutable_request() = request;
    const auto reader = server.inference().GenerateStream(&context, stream_request);
    v1::GenerateStreamResponse response;
    while (reader->Read(&response)) continue;
    return reader->Finish();
  });
}

TEST(RequestFieldsTest, GenerateStreamChecksTokensPerMessage) {
  using Stream = v1::GenerateStreamRequest;
  TestServer server;
  Stream valid;
  *valid.mutable_request() = GreedyRequest(2);
  const auto set = [](uint32_t n) { return [n](Stream& r) { r.set_tokens_per_message(n); }; };
  RunCases<Stream>(server, valid,
                   {Ok<Stream>("1", set(1)), Ok<Stream>("1024", set(1024)),
                    Bad<Stream>("tokens_per_message", "0", set(0)),
                    Bad<Stream>("tokens_per_message", "1025", set(1025)),
                    Bad<Stream>("request.prompt", "none", [](Stream& r) { r.clear_request(); })},
                   [&](const Stream& request) {
                     grpc::ClientContext context;
                     const auto reader = server.inference().GenerateStream(&context, request);
                     v1::GenerateStreamResponse response;
                     while (reader->Read(&response)) continue;
                     return reader->Finish();
                   });
}

std::vector<FieldCase<Score>> ScoreCases() {
  const auto continuations = [](int count) {
    return [count](Score& r) {
      r.clear_continuations();
      for (int i = 0; i < count; ++i) r.add_continuations()->set_text("a");
    };
  };
  const auto ids = [](std::vector<uint32_t> tokens) {
    return [tokens](Score& r) {
      r.add_continuations()->mutable_token_ids()->mutable_ids()->Assign(tokens.begin(),
                                                                        tokens.end());
    };
  };
  const auto logprobs = [](uint32_t n) { return [n](Score& r) { r.set_logprobs(n); }; };
  const auto trace = [](int level) {
    return [level](Score& r) { r.set_expert_trace(static_cast<v1::ExpertTraceLevel>(level)); };
  };
  const grpc::StatusCode out_of_range = grpc::StatusCode::OUT_OF_RANGE;
  return ModelCases<Score>() + SchedulingCases<Score>() + HiddenCases<Score>() +
         std::vector<FieldCase<Score>>{
             Ok<Score>("no context", [](Score& r) { r.clear_context(); }),
             Ok<Score>("empty context", [](Score& r) { r.mutable_context()->set_text(""); }),
             Ok<Score>("empty context without BOS",
                       [](Score& r) {
                         r.mutable_context()->set_text("");
                         r.mutable_context()->set_add_bos(false);
                       }),
             Bad<Score>("context.text", "text that the tokenizer refuses",
                        [](Score& r) { r.mutable_context()->set_text("A"); }),
             Bad<Score>("context.token_ids.ids[0]", "an id past the vocabulary",
                        [](Score& r) { r.mutable_context()->mutable_token_ids()->add_ids(32); }),
             Bad<Score>("context.chat.messages", "no messages",
                        [](Score& r) { r.mutable_context()->mutable_chat(); }),
             Ok<Score>("1", continuations(1)),
             Ok<Score>("many", continuations(15)),
             Bad<Score>("continuations", "none", continuations(0)),
             Bad<Score>("continuations", "1025", continuations(1025)),
             Bad<Score>("continuations[1]", "no input", [](Score& r) { r.add_continuations(); }),
             Bad<Score>("continuations[1].text", "empty text",
                        [](Score& r) { r.add_continuations()->set_text(""); }),
             Bad<Score>("continuations[1].text", "text that the tokenizer refuses",
                        [](Score& r) { r.add_continuations()->set_text("A"); }),
             Ok<Score>("the last id", ids({31})),
             Bad<Score>("continuations[1].token_ids.ids", "no ids", ids({})),
             Bad<Score>("continuations[1].token_ids.ids[1]", "an id past the vocabulary",
                        ids({1, 32})),
             {"longer than the context",
              [](Score& r) { r.add_continuations()->set_text(std::string(255, 'a')); },
              out_of_range, ""},
             Ok<Score>("0", logprobs(0)),
             Ok<Score>("20", logprobs(20)),
             Bad<Score>("logprobs", "21", logprobs(21)),
             Ok<Score>("summary", trace(v1::EXPERT_TRACE_LEVEL_SUMMARY)),
             Bad<Score>("expert_trace", "4", trace(4)),
         };
}

TEST(RequestFieldsTest, ScoreNamesEveryFieldThatIsOutOfItsRange) {
  TestServer server;
  RunCases<Score>(server, SmallScoreRequest(), ScoreCases(), [&](const Score& request) {
    grpc::ClientContext context;
    v1::ScoreResponse response;
    return server.inference().Score(&context, request, &response);
  });
}

TEST(RequestFieldsTest, TokenizeChecksItsPrompt) {
  using Tokenize = v1::TokenizeRequest;
  TestServer server;
  Tokenize valid;
  valid.mutable_prompt()->set_text("ab");
  const auto text = [](std::string t) {
    return [t](Tokenize& r) { r.mutable_prompt()->set_text(t); };
  };
  RunCases<Tokenize>(
      server, valid,
      ModelCases<Tokenize>() +
          std::vector<FieldCase<Tokenize>>{
              Ok<Tokenize>("text", text("abc")),
              Bad<Tokenize>("prompt", "none", [](Tokenize& r) { r.clear_prompt(); }),
              Ok<Tokenize>("empty", text("")),
              Bad<Tokenize>("prompt.text", "text that the tokenizer refuses", text("A")),
              Bad<Tokenize>(
                  "prompt.token_ids.ids[0]", "an id past the vocabulary",
                  [](Tokenize& r) { r.mutable_prompt()->mutable_token_ids()->add_ids(32); }),
          },
      [&](const Tokenize& request) {
        grpc::ClientContext context;
        v1::TokenizeResponse response;
        return server.inference().Tokenize(&context, request, &response);
      });
}

TEST(RequestFieldsTest, DetokenizeChecksItsIds) {
  using Detokenize = v1::DetokenizeRequest;
  TestServer server;
  const auto id = [](uint32_t t) { return [t](Detokenize& r) { r.add_token_ids(t); }; };
  RunCases<Detokenize>(server, Detokenize(),
                       ModelCases<Detokenize>() +
                           std::vector<FieldCase<Detokenize>>{
                               Ok<Detokenize>("nothing", [](Detokenize&) {}),
                               Ok<Detokenize>("the last id", id(31)),
                               Bad<Detokenize>("token_ids[0]", "unknown", id(32)),
                           },
                       [&](const Detokenize& request) {
                         grpc::ClientContext context;
                         v1::DetokenizeResponse response;
                         return server.inference().Detokenize(&context, request, &response);
                       });
}

TEST(RequestFieldsTest, GetModelKnowsItsNameOnly) {
  using GetModel = v1::GetModelRequest;
  TestServer server;
  RunCases<GetModel>(server, GetModel(), ModelCases<GetModel>(), [&](const GetModel& request) {
    grpc::ClientContext context;
    v1::GetModelResponse response;
    return server.models().GetModel(&context, request, &response);
  });
}

TEST(RequestFieldsTest, ReportsAllViolationsOfARequestAtOnce) {
  TestServer server;
  v1::GenerateRequest request = GreedyRequest(1);
  request.mutable_sampling()->set_temperature(kNan);
  request.mutable_sampling()->set_top_p(0);
  request.mutable_stopping()->add_stop("");
  request.mutable_scheduling()->set_priority(101);

  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);

  EXPECT_THAT(ViolatedFields(status), ElementsAre("sampling.temperature", "sampling.top_p",
                                                  "stopping.stop[0]", "scheduling.priority"));
}

// In every place where a request may have a million mistakes.
TEST(RequestFieldsTest, ListsSixteenViolationsAndLooksNoFurther) {
  TestServer server;
  constexpr int kMany = 200'000;
  std::vector<v1::GenerateRequest> requests(5, GreedyRequest(1));
  for (int i = 0; i < kMany; ++i) {
    requests[0].mutable_prompt()->mutable_token_ids()->add_ids(32);
    requests[1].mutable_prompt()->mutable_chat()->add_messages();
    requests[2].mutable_stopping()->add_stop();
    requests[3].mutable_hidden_states()->add_positions(7);
    requests[4].mutable_expert_control()->add_layers();
  }
  for (const v1::GenerateRequest& request : requests) {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    const grpc::Status status = server.inference().Generate(&context, request, &response);
    EXPECT_EQ(ViolatedFields(status).size(), 16) << status.error_message();
    EXPECT_THAT(status.error_message(), EndsWith("(and at least 15 more)"));
  }
}

TEST(RequestFieldsTest, TellsTheObserverOfRefusedRequests) {
  TestServer server;
  grpc::ClientContext generate_context;
  v1::GenerateResponse generated;
  server.inference().Generate(&generate_context, v1::GenerateRequest(), &generated);
  grpc::ClientContext score_context;
  v1::ScoreRequest score = SmallScoreRequest();
  score.set_model("other");
  v1::ScoreResponse scored;
  server.inference().Score(&score_context, score, &scored);

  const CountingObserver& observer = server.observer();
  EXPECT_EQ(observer.count(RequestKind::kGenerate, absl::StatusCode::kInvalidArgument), 1);
  EXPECT_EQ(observer.count(RequestKind::kScore, absl::StatusCode::kNotFound), 1);
}

}  // namespace
}  // namespace peerage
