#include "client/peerage_client.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/call_status.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;

grpc::Status RefusedField(const std::string& field) {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field(field);
  violation->set_description("out of range");
  google::rpc::Status details;
  details.add_details()->PackFrom(bad_request);
  return {grpc::StatusCode::INVALID_ARGUMENT, "1 field", details.SerializeAsString()};
}

class FakeInference : public v1::InferenceService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest*,
                        v1::GenerateResponse* response) override {
    const auto agent = context->client_metadata().find("user-agent");
    response->mutable_model()->set_name(std::string(agent->second.data(), agent->second.size()));
    return grpc::Status::OK;
  }

  // Three events and an error; without end for the model "endless".
  grpc::Status GenerateStream(grpc::ServerContext*, const v1::GenerateStreamRequest* request,
                              grpc::ServerWriter<v1::GenerateStreamResponse>* writer) override {
    const bool endless = request->request().model() == "endless";
    bool heard = true;
    for (int i = 0; heard && (endless || i < 3); ++i) {
      v1::GenerateStreamResponse event;
      event.mutable_delta()->set_text(std::string(1, static_cast<char>('a' + i % 3)));
      heard = writer->Write(event);
    }
    return {grpc::StatusCode::INTERNAL, "the model broke"};
  }

  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest*, v1::ScoreResponse*) override {
    return RefusedField("continuations");
  }

  // Answers the last request first; "broken" ends the call.
  grpc::Status ScoreStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ScoreStreamResponse, v1::ScoreStreamRequest>* stream) override {
    std::vector<v1::ScoreStreamResponse> answers;
    v1::ScoreStreamRequest request;
    while (stream->Read(&request)) {
      if (request.id() == "broken") return {grpc::StatusCode::INTERNAL, "the model broke"};
      answers.emplace_back().set_id(request.id());
    }
    for (size_t i = answers.size(); i-- > 0;) stream->Write(answers[i]);
    return grpc::Status::OK;
  }

  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest*,
                        v1::TokenizeResponse* response) override {
    // More than the 4 MiB that gRPC takes by default.
    response->add_tokens(std::string(5 << 20, 'x'));
    return grpc::Status::OK;
  }
};

class FakeExperts : public v1::ExpertService::Service {
 public:
  grpc::Status GetExpertUsage(grpc::ServerContext*, const v1::GetExpertUsageRequest* request,
                              grpc::ServerWriter<v1::GetExpertUsageResponse>* writer) override {
    v1::GetExpertUsageResponse header;
    header.mutable_header()->set_num_experts(2);
    writer->Write(header);
    for (uint32_t expert = request->layer(); expert < 2; ++expert) {
      v1::GetExpertUsageResponse chunk;
      chunk.mutable_chunk()->set_first_expert(expert);
      chunk.mutable_chunk()->set_selections(std::string("\x05\0\0\0\0\0\0\0", 8));
      chunk.mutable_chunk()->set_score_sums(std::string(8, '\0'));
      writer->Write(chunk);
    }
    return usage_result;
  }

  grpc::Status WatchExpertSummary(
      grpc::ServerContext* context, const v1::WatchExpertSummaryRequest*,
      grpc::ServerWriter<v1::WatchExpertSummaryResponse>* writer) override {
    v1::WatchExpertSummaryResponse summary;
    while (!context->IsCancelled() && writer->Write(summary)) summary.add_layers();
    return grpc::Status::CANCELLED;
  }

  grpc::Status usage_result = grpc::Status::OK;
};

class PeerageClientTest : public ::testing::Test {
 protected:
  PeerageClientTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&inference_);
    builder.RegisterService(&experts_);
    server_ = builder.BuildAndStart();
    options_.server = absl::StrCat("127.0.0.1:", port);
    options_.timeout = absl::Minutes(1);
  }

  FakeInference inference_;
  FakeExperts experts_;
  std::unique_ptr<grpc::Server> server_;
  ClientOptions options_;
};

TEST_F(PeerageClientTest, SaysWhoItIs) {
  const auto response = Client(options_).Generate({});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_THAT(response->model().name(), ::testing::StartsWith("peerage/"));
}

TEST_F(PeerageClientTest, GivesEventsInOrderAndThenTheCallsError) {
  std::vector<std::string> texts;
  const absl::Status status =
      Client(options_).GenerateStream({}, [&](const v1::GenerateStreamResponse& event) {
        texts.push_back(event.delta().text());
        return true;
      });
  EXPECT_THAT(texts, ElementsAre("a", "b", "c"));
  EXPECT_EQ(status, absl::InternalError("the model broke"));
}

TEST_F(PeerageClientTest, KeepsTheDetailsOfAnError) {
  const absl::Status status = Client(options_).Score({}).status();
  EXPECT_EQ(DescribeError(status), "INVALID_ARGUMENT: the continuation out of range");
}

v1::GenerateStreamRequest Endless() {
  v1::GenerateStreamRequest request;
  request.mutable_request()->set_model("endless");
  return request;
}

// Calls ScoreStream with these ids. Returns those of the answers, of which `wanted` are taken.
absl::StatusOr<std::vector<std::string>> Stream(Client& client, std::vector<std::string> ids,
                                                size_t wanted) {
  std::vector<std::string> answered;
  size_t at = 0;
  const absl::Status status = client.ScoreStream(
      [&](v1::ScoreStreamRequest& request) {
        if (at == ids.size()) return false;
        request.set_id(ids[at++]);
        return true;
      },
      [&](const v1::ScoreStreamResponse& answer) {
        answered.push_back(answer.id());
        return answered.size() < wanted;
      });
  if (!status.ok()) return status;
  return answered;
}

TEST_F(PeerageClientTest, StreamsScoresInWhateverOrderTheyCome) {
  Client client(options_);
  EXPECT_THAT(*Stream(client, {"a", "b", "c"}, 9), ElementsAre("c", "b", "a"));
  EXPECT_THAT(*Stream(client, {"a", "b", "c"}, 2), ElementsAre("c", "b"));
  EXPECT_EQ(Stream(client, {"a", "broken", "c"}, 9).status(),
            absl::InternalError("the model broke"));
}

TEST_F(PeerageClientTest, EndsTheCallsThatRunAndNoLaterOnes) {
  Client client(options_);
  EXPECT_FALSE(client.CancelRunning());
  const auto cancel = [&client](const v1::GenerateStreamResponse&) {
    EXPECT_TRUE(client.CancelRunning());
    return true;
  };
  EXPECT_TRUE(absl::IsCancelled(client.GenerateStream(Endless(), cancel)));
  EXPECT_TRUE(client.Generate({}).ok());
}

TEST_F(PeerageClientTest, TakesAnswersOfAnySize) {
  const auto response = Client(options_).Tokenize({});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->tokens(0).size(), 5u << 20);
}

TEST_F(PeerageClientTest, SaysWhatTheServerDoesNotHave) {
  Client client(options_);
  EXPECT_TRUE(absl::IsUnimplemented(client.ListModels().status()));
  EXPECT_TRUE(absl::IsUnimplemented(client.GetServerStatus().status()));
}

TEST_F(PeerageClientTest, AnswersHealthAsTheStandardServiceDoes) {
  EXPECT_TRUE(absl::IsUnimplemented(Client(options_).CheckHealth("").status()))
      << "this server has no such service";
}

TEST_F(PeerageClientTest, JoinsTheChunksOfExpertUsage) {
  const auto usage = Client(options_).GetExpertUsage({});
  ASSERT_TRUE(usage.ok()) << usage.status();
  EXPECT_THAT(usage->selections, ElementsAre(5, 5));
  EXPECT_THAT(usage->score_sums, ElementsAre(0, 0));
}

TEST_F(PeerageClientTest, RefusesUsageThatDoesNotFitItsHeader) {
  v1::GetExpertUsageRequest request;
  request.set_layer(1);  // the first chunk is missing
  EXPECT_EQ(Client(options_).GetExpertUsage(request).status(),
            absl::DataLossError("a chunk of expert usage does not follow expert 0"));
  request.set_layer(2);  // all chunks are
  EXPECT_EQ(Client(options_).GetExpertUsage(request).status(),
            absl::DataLossError("the usage of 2 experts was announced, that of 0 came"));
}

TEST_F(PeerageClientTest, GivesTheServersErrorRatherThanThatChunksAreMissing) {
  experts_.usage_result = {grpc::StatusCode::UNAVAILABLE, "draining"};
  v1::GetExpertUsageRequest request;
  request.set_layer(2);
  EXPECT_EQ(Client(options_).GetExpertUsage(request).status(), absl::UnavailableError("draining"));
}

TEST_F(PeerageClientTest, WatchesUntilItIsToldToStop) {
  std::vector<int> layers;
  const absl::Status status =
      Client(options_).WatchExpertSummary({}, [&](const v1::WatchExpertSummaryResponse& summary) {
        layers.push_back(summary.layers_size());
        return layers.size() < 3;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(layers, ElementsAre(0, 1, 2));
}

TEST_F(PeerageClientTest, LimitsTheTimeOfACall) {
  options_.timeout = absl::Milliseconds(50);
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      Client(options_).GenerateStream(Endless(), [](const auto&) { return true; })));
}

TEST_F(PeerageClientTest, CancelsCallsThatRunAndEveryLaterOne) {
  Client client(options_);
  const auto cancel = [&client](const v1::GenerateStreamResponse&) {
    client.Cancel();
    return true;
  };
  EXPECT_TRUE(absl::IsCancelled(client.GenerateStream(Endless(), cancel)));
  EXPECT_TRUE(absl::IsCancelled(client.Generate({}).status()));
}

TEST_F(PeerageClientTest, SaysThatThereIsNoServer) {
  server_->Shutdown();
  EXPECT_TRUE(absl::IsUnavailable(Client(options_).ListModels().status()));
}

}  // namespace
}  // namespace peerage::client
