#include "server/identity/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr char kCheckMethod[] = "grpc.health.v1.Health/Check";
constexpr char kGenerateMethod[] = "peerage.v1.InferenceService/Generate";
constexpr char kScore[] = "peerage.v1.InferenceService/Score";
constexpr char kReset[] = "peerage.v1.ExpertService/ResetExpertUsage";
constexpr char kDrainMethod[] = "peerage.v1.AdminService/Drain";
constexpr char kSetLogLevel[] = "peerage.v1.AdminService/SetLogLevel";
constexpr char kStatus[] = "peerage.v1.AdminService/GetServerStatus";

absl::StatusOr<Policy> ParsePolicy(const std::string& text) {
  return Policy::Parse(
      text, {kCheckMethod, kGenerateMethod, kScore, kReset, kDrainMethod, kSetLogLevel, kStatus});
}

Permissions PermissionsOf(const std::string& entry) {
  const auto policy = ParsePolicy(absl::StrCat(R"({"principals": {"alice": )", entry, "}}"));
  EXPECT_TRUE(policy.ok()) << policy.status();
  if (!policy.ok()) return {};
  return *policy->Find("alice");
}

TEST(PolicyTest, AllowsWhatItSaysAndNothingElse) {
  const Permissions none = PermissionsOf("{}");
  EXPECT_TRUE(none.methods.empty());
  EXPECT_THAT(none.models, ElementsAre("*"));
  EXPECT_EQ(none.first_priority, 0);
  EXPECT_EQ(none.last_priority, 100);
  EXPECT_TRUE(none.tenants.empty());
  EXPECT_EQ(none.traces, ExpertTraceLevel::kNone);
  EXPECT_FALSE(none.hidden_states);
  EXPECT_FALSE(none.expert_control);
  EXPECT_FALSE(none.requests_per_second.has_value());

  const Permissions much = PermissionsOf(R"({"methods": ["peerage.v1.InferenceService/Generate"],
      "models": ["a", "b"], "priorities": [-5, 7], "tenants": ["x", "y"], "traces": "summary",
      "hidden_states": true, "expert_control": true, "requests_per_second": 0.5,
      "tokens_per_second": 1000, "concurrency": 3})");
  EXPECT_THAT(much.methods, UnorderedElementsAre(kGenerateMethod));
  EXPECT_THAT(much.models, ElementsAre("a", "b"));
  EXPECT_EQ(much.first_priority, -5);
  EXPECT_EQ(much.last_priority, 7);
  EXPECT_THAT(much.tenants, ElementsAre("x", "y"));
  EXPECT_EQ(much.traces, ExpertTraceLevel::kSummary);
  EXPECT_TRUE(much.hidden_states);
  EXPECT_TRUE(much.expert_control);
  EXPECT_EQ(much.requests_per_second, 0.5);
  EXPECT_EQ(much.tokens_per_second, 1000);
  EXPECT_EQ(much.concurrency, 3);
}

TEST(PolicyTest, PatternsLeaveOutWhatChangesTheServer) {
  EXPECT_THAT(PermissionsOf(R"({"methods": ["*"]})").methods,
              UnorderedElementsAre(kCheckMethod, kGenerateMethod, kScore, kStatus));
  EXPECT_THAT(PermissionsOf(R"({"methods": ["peerage.v1.AdminService/*"]})").methods,
              UnorderedElementsAre(kStatus));
  EXPECT_THAT(
      PermissionsOf(R"({"methods": ["peerage.v1.AdminService/Drain", "peerage.v1.Inference*"]})")
          .methods,
      UnorderedElementsAre(kDrainMethod, kGenerateMethod, kScore));
}

TEST(PolicyTest, FindsTheOwnEntryThenThatOfEverybodyKnown) {
  const auto policy = ParsePolicy(R"({"principals": {"alice": {"traces": "full"},
      "*": {"traces": "summary"}, "anonymous": {"methods": ["grpc.health.v1.Health/*"]}}})");
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(policy->Find("alice")->traces, ExpertTraceLevel::kFull);
  EXPECT_EQ(policy->Find("bob")->traces, ExpertTraceLevel::kSummary);
  EXPECT_THAT(policy->Find("anonymous")->methods, UnorderedElementsAre(kCheckMethod));
  const auto named_only = ParsePolicy(R"({"principals": {"alice": {}}})");
  ASSERT_TRUE(named_only.ok());
  EXPECT_EQ(named_only->Find("bob"), nullptr);
  EXPECT_EQ(named_only->Find("anonymous"), nullptr);
  const auto everybody = ParsePolicy(R"({"principals": {"*": {"methods": ["*"]}}})");
  ASSERT_TRUE(everybody.ok());
  EXPECT_EQ(everybody->Find("anonymous"), nullptr) << "is not known";
}

TEST(PolicyTest, WithoutAFileEverybodyKnownMayDoWhatChangesNothing) {
  const Policy policy = Policy::OfKnown({kGenerateMethod, kDrainMethod});
  EXPECT_THAT(policy.Find("bob")->methods, UnorderedElementsAre(kGenerateMethod));
  EXPECT_EQ(policy.Find("anonymous"), nullptr);
}

TEST(PolicyTest, ErrorsNameTheKey) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "1"},
      {"[]", "not a JSON object"},
      {"{}", "principals"},
      {R"({"principals": []})", "principals"},
      {R"({"principals": {}, "more": 1})", "more"},
      {R"({"principals": {"alice": 1}})", "principals.\"alice\""},
      {R"({"principals": {"alice": {}, "alice": {}}})", "alice"},
      {R"({"principals": {"a b": {}}})", "principals.\"a b\""},
      {R"({"principals": {"alice": {"method": []}}})", "principals.\"alice\".method"},
      {R"({"principals": {"alice": {"methods": "*"}}})", "principals.\"alice\".methods"},
      {R"({"principals": {"alice": {"methods": [1]}}})", "principals.\"alice\".methods"},
      {R"({"principals": {"alice": {"methods": ["Generate"]}}})", "\"Generate\""},
      {R"({"principals": {"alice": {"models": {}}}})", "principals.\"alice\".models"},
      {R"({"principals": {"alice": {"priorities": [5]}}})", "principals.\"alice\".priorities"},
      {R"({"principals": {"alice": {"priorities": [5, 4]}}})", "principals.\"alice\".priorities"},
      {R"({"principals": {"alice": {"priorities": [0, 101]}}})", "principals.\"alice\".priorities"},
      {R"({"principals": {"alice": {"tenants": []}}})", "principals.\"alice\".tenants"},
      {R"({"principals": {"alice": {"traces": "all"}}})", "principals.\"alice\".traces"},
      {R"({"principals": {"alice": {"hidden_states": 1}}})", "principals.\"alice\".hidden_states"},
      {R"({"principals": {"alice": {"requests_per_second": 0}}})", "requests_per_second"},
      {R"({"principals": {"alice": {"tokens_per_second": -1}}})", "tokens_per_second"},
      {R"({"principals": {"alice": {"concurrency": 0}}})", "principals.\"alice\".concurrency"},
  };
  for (const auto& [text, place] : cases) {
    const auto policy = ParsePolicy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(policy.status().message()), HasSubstr(place)) << text;
  }
}

}  // namespace
}  // namespace peerage
