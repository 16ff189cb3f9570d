#include "client/message_json.h"

#include <google/protobuf/timestamp.pb.h>
#include <gtest/gtest.h>

#include "grpc/health/v1/health.pb.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/inference.pb.h"
#include "peerage/v1/models.pb.h"

namespace peerage::client {
namespace {

TEST(MessageJsonTest, WritesNumbersAsNumbersWhereTheyFit) {
  v1::ResolvedSampling sampling;
  sampling.set_seed(uint64_t{1} << 53);
  sampling.set_temperature(0.1f);
  Json json = ToJson(sampling);
  EXPECT_EQ(json["seed"], 9007199254740992);
  EXPECT_EQ(json["temperature"].dump(), "0.1");
  EXPECT_EQ(json["top_k"], 0) << "fields that hold nothing are there";

  sampling.set_seed((uint64_t{1} << 53) + 1);
  EXPECT_EQ(ToJson(sampling)["seed"], "9007199254740993");
}

TEST(MessageJsonTest, WritesDurationsInSecondsAndTimesAsText) {
  v1::Timings timings;
  timings.mutable_queue()->set_seconds(2);
  timings.mutable_queue()->set_nanos(500'000'000);
  const Json json = ToJson(timings);
  EXPECT_EQ(json["queue"], 2.5);
  timings.mutable_queue()->set_seconds(0);
  timings.mutable_queue()->set_nanos(135'099'966);
  EXPECT_EQ(ToJson(timings)["queue"].dump(), "0.135099966");
  EXPECT_FALSE(json.contains("prefill"));

  v1::UsageHeader header;
  header.mutable_window_start()->set_seconds(90);
  header.mutable_window_start()->set_nanos(250'000'000);
  EXPECT_EQ(ToJson(header)["window_start"], "1970-01-01T00:01:30.25Z");
}

TEST(MessageJsonTest, WritesMapsAsObjects) {
  v1::LayerControl layer;
  for (const uint32_t id : {7u, 3u, 12u}) (*layer.mutable_bias())[id] = 0.1f * id;
  EXPECT_EQ(ToJson(layer)["bias"].dump(), R"({"12":1.2,"3":0.3,"7":0.7})");
}

TEST(MessageJsonTest, SpellsEnumsAsOptionsDo) {
  v1::GetExpertUsageRequest usage;
  usage.set_window(v1::USAGE_WINDOW_RECENT);
  for (const auto& [kind, word] :
       {std::pair(v1::EXPERT_LAYER_KIND_PEER, "peer"),
        std::pair(v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY, "pkm"),
        std::pair(v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION, "mixture_attention")}) {
    usage.set_kind(kind);
    EXPECT_EQ(ToJson(usage)["kind"], word);
  }
  EXPECT_EQ(ToJson(usage)["window"], "recent");

  v1::Finish finish;
  finish.set_reason(v1::FINISH_REASON_END_OF_SEQUENCE);
  EXPECT_EQ(ToJson(finish)["reason"], "end_of_sequence");
  v1::SetLogLevelRequest level;
  level.set_level(v1::LOG_LEVEL_WARN);
  EXPECT_EQ(ToJson(level)["level"], "warn");
  grpc::health::v1::HealthCheckResponse health;
  health.set_status(grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(ToJson(health)["status"], "not_serving");
}

TEST(MessageJsonTest, LeavesOutWhatIsUnset) {
  v1::ContinuationScore score;
  score.add_tokens();
  score.add_tokens()->set_logprob(0);
  const Json json = ToJson(score);
  EXPECT_FALSE(json["tokens"][0].contains("logprob"));
  EXPECT_EQ(json["tokens"][1]["logprob"], 0.0);
}

TEST(MessageJsonTest, IsValidUtf8WhateverATokenHolds) {
  EXPECT_EQ(JsonLine({{"token", "caf\xc3"}}), "{\"token\":\"caf\uFFFD\"}\n");
  EXPECT_EQ(JsonText({{"a", 1}}), "{\n \"a\": 1\n}\n");
}

}  // namespace
}  // namespace peerage::client
