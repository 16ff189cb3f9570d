#include "client/unbroken_generation.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Event = v1::GenerateStreamResponse;

Event Started(const std::string& fingerprint = "same", uint32_t candidates = 1) {
  Event event;
  event.mutable_started()->mutable_sampling()->set_seed(7);
  event.mutable_started()->mutable_sampling()->set_candidates(candidates);
  event.mutable_started()->mutable_model()->set_fingerprint(fingerprint);
  return event;
}

Event Prompt(uint32_t first, const std::vector<uint32_t>& ids) {
  Event event;
  event.mutable_prompt_logprobs()->set_first_position(first);
  for (const uint32_t id : ids) event.mutable_prompt_logprobs()->add_tokens()->set_token_id(id);
  return event;
}

Event Delta(const std::string& text, const std::vector<uint32_t>& ids) {
  Event event;
  event.mutable_delta()->set_text(text);
  event.mutable_delta()->mutable_token_ids()->Add(ids.begin(), ids.end());
  return event;
}

Event Finished() {
  Event event;
  event.mutable_finished()->mutable_finish()->set_reason(v1::FINISH_REASON_LENGTH);
  return event;
}

const grpc::Status kGone(grpc::StatusCode::UNAVAILABLE, "gone");

grpc::Status Busy(absl::Duration delay = absl::Seconds(0)) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  google::rpc::Status details;
  details.add_details()->PackFrom(retry);
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "full", details.SerializeAsString()};
}

// What a call answers.
struct Step {
  std::vector<Event> events;
  grpc::Status status;
};

// Each call takes the next step.
class ScriptedInference : public v1::InferenceService::Service {
 public:
  grpc::Status GenerateStream(grpc::ServerContext*, const v1::GenerateStreamRequest* request,
                              grpc::ServerWriter<Event>* writer) override {
    seen.push_back(*request);
    const Step& step = steps.at(seen.size() - 1);
    for (const Event& event : step.events) writer->Write(event);
    return step.status;
  }

  std::vector<Step> steps;
  std::vector<v1::GenerateStreamRequest> seen;
};

class UnbrokenGenerationTest : public ::testing::Test {
 protected:
  UnbrokenGenerationTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&inference_);
    server_ = builder.BuildAndStart();
    client_server_ = absl::StrCat("127.0.0.1:", port);
    client_ = std::make_unique<Client>(
        ClientOptions{.server = client_server_, .timeout = absl::Minutes(1)});
    request_.mutable_request()->mutable_sampling()->set_top_p(0.5f);
    request_.mutable_request()->mutable_output()->set_prompt_logprobs(true);
    request_.set_tokens_per_message(2);
  }

  absl::Status Generate(std::vector<Step> steps, int retries = 2) {
    inference_.steps = std::move(steps);
    return GenerateUnbroken(*client_, request_,
                            {.retries = retries,
                             .first_delay = absl::Milliseconds(1),
                             .on_break =
                                 [this](const absl::Status& why, absl::Duration) {
                                   breaks_.emplace_back(why.message());
                                   if (on_break_) on_break_();
                                 }},
                            [this](const Event& event) {
                              if (event.has_started()) ++started_;
                              if (event.has_finished()) ++finished_;
                              text_ += event.delta().text();
                              ids_.insert(ids_.end(), event.delta().token_ids().begin(),
                                          event.delta().token_ids().end());
                              for (const auto& token : event.prompt_logprobs().tokens()) {
                                prompt_.push_back(token.token_id());
                              }
                              return true;
                            });
  }

  static std::vector<uint32_t> GeneratedOf(const v1::GenerateStreamRequest& request) {
    const auto& ids = request.request().generated_token_ids().ids();
    return {ids.begin(), ids.end()};
  }

  ScriptedInference inference_;
  std::unique_ptr<grpc::Server> server_;
  std::string client_server_;
  std::unique_ptr<Client> client_;
  std::function<void()> on_break_;
  v1::GenerateStreamRequest request_;
  std::vector<std::string> breaks_;
  std::string text_;
  std::vector<uint32_t> ids_, prompt_;
  int started_ = 0, finished_ = 0;
};

TEST_F(UnbrokenGenerationTest, GoesOnWhereItWas) {
  const absl::Status status = Generate({{{Started(), Delta("a", {5}), Delta("", {6, 7})}, kGone},
                                        {{}, kGone},
                                        {{}, Busy()},
                                        {{Started(), Delta("bc", {8})}, kGone},
                                        {{Started(), Finished()}, grpc::Status::OK}},
                                       /*retries=*/3);

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(text_, "abc");
  EXPECT_THAT(ids_, ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(started_, 1);
  EXPECT_EQ(finished_, 1);
  EXPECT_THAT(breaks_, ElementsAre("gone", "gone", "full", "gone"));
  ASSERT_EQ(inference_.seen.size(), 5u);
  EXPECT_EQ(inference_.seen[0].SerializeAsString(), request_.SerializeAsString());
  EXPECT_THAT(GeneratedOf(inference_.seen[3]), ElementsAre(5, 6, 7));
  EXPECT_THAT(GeneratedOf(inference_.seen[4]), ElementsAre(5, 6, 7, 8));
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(inference_.seen[i].request().sampling().seed(), 7u);
    EXPECT_EQ(inference_.seen[i].request().sampling().top_p(), 0.5f);
    EXPECT_EQ(inference_.seen[i].tokens_per_message(), 2u);
    EXPECT_FALSE(inference_.seen[i].request().output().prompt_logprobs());
  }
}

TEST_F(UnbrokenGenerationTest, BeginsAgainBeforeTheFirstToken) {
  const absl::Status status =
      Generate({{{Started(), Prompt(0, {1, 2})}, kGone},
                {{Started(), Prompt(0, {1}), Prompt(1, {2, 3}), Finished()}, grpc::Status::OK}});

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(prompt_, ElementsAre(1, 2, 3));
  EXPECT_TRUE(inference_.seen[1].request().output().prompt_logprobs());
  EXPECT_EQ(inference_.seen[1].request().sampling().seed(), 7u);
  EXPECT_FALSE(inference_.seen[1].request().has_generated_token_ids());
}

TEST_F(UnbrokenGenerationTest, TriesAreBoundedUntilTokensCome) {
  const absl::Status status = Generate({{{Started(), Delta("a", {5})}, kGone},
                                        {{}, kGone},
                                        {{Started(), Delta("b", {6})}, kGone},
                                        {{}, kGone},
                                        {{Started()}, kGone},
                                        {{Started()}, grpc::Status::OK}});

  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(inference_.seen.size(), 5u);
}

TEST_F(UnbrokenGenerationTest, WhatCannotGoOnFails) {
  EXPECT_TRUE(absl::IsUnavailable(Generate({{{}, kGone}})));  // it has not begun
  EXPECT_THAT(breaks_, IsEmpty());
  inference_.seen.clear();
  EXPECT_TRUE(absl::IsUnavailable(Generate({{{Started("same", 2)}, kGone}})));
  inference_.seen.clear();
  EXPECT_TRUE(absl::IsUnavailable(Generate({{{Started()}, kGone}}, /*retries=*/0)));
  inference_.seen.clear();
  const grpc::Status failed(grpc::StatusCode::INTERNAL, "the model failed");
  EXPECT_TRUE(absl::IsInternal(Generate({{{Started(), Delta("a", {5})}, failed}})));
  EXPECT_THAT(breaks_, IsEmpty());
}

TEST_F(UnbrokenGenerationTest, OtherWeightsDoNotGoOn) {
  const absl::Status status = Generate(
      {{{Started(), Delta("a", {5})}, kGone}, {{Started("other"), Delta("b", {6})}, kGone}});

  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(text_, "a");
}

TEST_F(UnbrokenGenerationTest, NoWaitGoesPastTheTimeout) {
  const absl::Status status =
      Generate({{{Started(), Delta("a", {5})}, kGone}, {{}, Busy(absl::Hours(1))}});

  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;  // at once
  EXPECT_THAT(breaks_, ElementsAre("gone"));
}

TEST_F(UnbrokenGenerationTest, CancelEndsTheWait) {
  client_ = std::make_unique<Client>(ClientOptions{.server = client_server_});
  on_break_ = [this] { client_->Cancel(); };
  const absl::Status status =
      Generate({{{Started(), Delta("a", {5})}, kGone}, {{}, Busy(absl::Hours(1))}});

  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

}  // namespace
}  // namespace peerage::client
