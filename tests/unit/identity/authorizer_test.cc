#include "server/identity/authorizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/retry_delay.h"

namespace peerage {
namespace {

constexpr char kCheck[] = "grpc.health.v1.Health/Check";
constexpr char kGenerate[] = "peerage.v1.InferenceService/Generate";
constexpr char kDrain[] = "peerage.v1.AdminService/Drain";
const std::vector<std::string> kMethods = {kCheck, kGenerate, kDrain};

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // in 2027

// Of "apple", "banana" and, expired in 2026, "cherry".
constexpr char kTokens[] =
    "alice 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b\n"
    "bob b493d48364afe44d11c0165cf470a4164d1e2609911ef998be868d46ade3de4e\n"
    "alice 2daf0e6c79009f9234ed9baa5bb930898e2847810617e118518d88e4d3140a2e 2026-01-01T00:00:00Z\n";

Identities IdentitiesOf(const std::string& policy, const std::string& tokens = kTokens) {
  auto parsed_tokens = BearerTokens::Parse(tokens);
  auto parsed = Policy::Parse(policy, kMethods);
  EXPECT_TRUE(parsed_tokens.ok()) << parsed_tokens.status();
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return {*std::move(parsed_tokens), *std::move(parsed)};
}

Credentials Bearer(const std::string& token) {
  return {.authorizations = 1, .authorization = absl::StrCat("Bearer ", token)};
}

// The entry of alice, who may generate.
std::string Alice(const std::string& more) {
  return absl::StrCat(R"({"principals": {"alice": {"methods": ["peerage.v1.InferenceService/*"])",
                      more.empty() ? "" : ", ", more, "}}}");
}

class AuthorizerTest : public ::testing::Test {
 protected:
  Verdict Enter(Authorizer& authorizer, const Credentials& credentials,
                const std::string& method = kGenerate, absl::Time now = kNow) {
    visitor_.reset();
    return authorizer.Enter(credentials, method, now, visitor_);
  }

  Decision Ask(const std::string& more, Wish wish) {
    Authorizer authorizer("llama", kMethods);
    authorizer.Replace(IdentitiesOf(Alice(more)));
    EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kAllowed);
    tenant_.clear();
    if (visitor_ == nullptr) return Decision::kNoCredentials;
    const Decision decision = visitor_->Ask(wish, kNow).decision;
    tenant_ = wish.tenant;
    visitor_.reset();
    return decision;
  }

  std::shared_ptr<const Visitor> visitor_;
  std::string tenant_;
};

TEST_F(AuthorizerTest, IdentifiesByWhatIsShown) {
  Authorizer authorizer("llama", kMethods);
  authorizer.Replace(IdentitiesOf(R"({"principals": {
      "alice": {"methods": ["peerage.v1.InferenceService/*"]},
      "spiffe://example.org/batch": {"methods": ["peerage.v1.InferenceService/*"]},
      "anonymous": {"methods": ["grpc.health.v1.Health/*"]}}})"));
  const auto header = [](const std::string& value) {
    return Credentials{.authorizations = 1, .authorization = value};
  };
  struct Case {
    const char* what;
    Credentials credentials;
    Decision decision;
  };
  const std::vector<Case> cases = {
      {"nothing", {}, Decision::kNoCredentials},
      {"a known token", Bearer("apple"), Decision::kAllowed},
      {"scheme in other case", header("bEARER apple"), Decision::kAllowed},
      {"more blanks", header("Bearer   apple "), Decision::kAllowed},
      {"an unknown token", Bearer("pear"), Decision::kBadCredentials},
      {"the digest itself",
       Bearer("3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b"),
       Decision::kBadCredentials},
      {"an expired token", Bearer("cherry"), Decision::kExpiredToken},
      {"no token", header("Bearer "), Decision::kBadCredentials},
      {"no scheme", header("apple"), Decision::kBadCredentials},
      {"another scheme", header("Basic apple"), Decision::kBadCredentials},
      {"an empty header", header(""), Decision::kBadCredentials},
      {"two headers",
       {.authorizations = 2, .authorization = "Bearer apple"},
       Decision::kBadCredentials},
      {"a known token of whom no policy tells", Bearer("banana"), Decision::kMethod},
      {"a certificate", {.certificate = "spiffe://example.org/batch"}, Decision::kAllowed},
      {"a certificate of whom no policy tells", {.certificate = "other"}, Decision::kMethod},
      {"a bad token beside a good certificate",
       {.authorizations = 1,
        .authorization = "Bearer pear",
        .certificate = "spiffe://example.org/batch"},
       Decision::kBadCredentials},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(DecisionName(Enter(authorizer, one.credentials).decision), DecisionName(one.decision))
        << one.what;
    EXPECT_EQ(visitor_ != nullptr, one.decision == Decision::kAllowed) << one.what;
  }
  EXPECT_EQ(Enter(authorizer, {}, kCheck).decision, Decision::kAllowed);
  EXPECT_EQ(Enter(authorizer, {}, "a/stranger").decision, Decision::kNoCredentials);
  EXPECT_EQ(authorizer.Counts().at({kGenerate, Decision::kExpiredToken}), 1);
  EXPECT_EQ(authorizer.Counts().at({kCheck, Decision::kAllowed}), 1);
  EXPECT_EQ(authorizer.Counts().at({"other", Decision::kNoCredentials}), 1);
  EXPECT_EQ(Enter(authorizer, Bearer("apple"), kCheck).decision, Decision::kMethod);
  EXPECT_EQ(Enter(authorizer, Bearer("apple"), kDrain).decision, Decision::kMethod);
}

TEST_F(AuthorizerTest, HoldsModelsToThePolicyWhereOneIsConcerned) {
  const std::string policy = R"({"principals": {"alice": {"methods": ["*",
      "peerage.v1.AdminService/Drain"], "models": ["mixtral"]}}})";
  Authorizer authorizer("llama", kMethods);
  authorizer.Replace(IdentitiesOf(policy));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kModel);
  EXPECT_EQ(Enter(authorizer, Bearer("apple"), kCheck).decision, Decision::kAllowed);
  EXPECT_EQ(Enter(authorizer, Bearer("apple"), kDrain).decision, Decision::kAllowed);
  Authorizer of_mixtral("mixtral", kMethods);
  of_mixtral.Replace(IdentitiesOf(policy));
  EXPECT_EQ(Enter(of_mixtral, Bearer("apple")).decision, Decision::kAllowed);
  visitor_.reset();
}

TEST_F(AuthorizerTest, HoldsWishesToThePolicy) {
  struct Case {
    const char* more;
    Wish wish;
    Decision decision;
    const char* tenant;
  };
  const std::vector<Case> cases = {
      {"", {}, Decision::kAllowed, "alice"},
      {"", {.tenant = "alice"}, Decision::kAllowed, "alice"},
      {"", {.tenant = "bob"}, Decision::kTenant, "bob"},
      {R"("tenants": ["a", "b"])", {}, Decision::kAllowed, "a"},
      {R"("tenants": ["a", "b"])", {.tenant = "b"}, Decision::kAllowed, "b"},
      {R"("tenants": ["a", "b"])", {.tenant = "alice"}, Decision::kTenant, "alice"},
      {R"("tenants": ["a", "*"])", {.tenant = "z"}, Decision::kAllowed, "z"},
      {R"("tenants": ["*"])", {}, Decision::kAllowed, ""},
      {"", {.priority = 100}, Decision::kAllowed, "alice"},
      {"", {.priority = -1}, Decision::kPriority, "alice"},
      {R"("priorities": [-5, 5])", {.priority = -5}, Decision::kAllowed, "alice"},
      {R"("priorities": [-5, 5])", {.priority = 6}, Decision::kPriority, "alice"},
      {"", {.traces = ExpertTraceLevel::kSummary}, Decision::kTraces, "alice"},
      {R"("traces": "summary")",
       {.traces = ExpertTraceLevel::kSummary},
       Decision::kAllowed,
       "alice"},
      {R"("traces": "summary")", {.traces = ExpertTraceLevel::kFull}, Decision::kTraces, "alice"},
      {"", {.hidden_states = true}, Decision::kHiddenStates, "alice"},
      {R"("hidden_states": true)", {.hidden_states = true}, Decision::kAllowed, "alice"},
      {"", {.expert_control = true}, Decision::kExpertControl, "alice"},
      {R"("expert_control": true)", {.expert_control = true}, Decision::kAllowed, "alice"},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& one = cases[i];
    EXPECT_EQ(DecisionName(Ask(one.more, one.wish)), DecisionName(one.decision)) << i;
    EXPECT_EQ(tenant_, one.tenant) << i;
  }
}

TEST_F(AuthorizerTest, LimitsCallsAtTheSameTime) {
  Authorizer authorizer("llama", kMethods);
  authorizer.Replace(IdentitiesOf(Alice(R"("concurrency": 2)")));
  std::shared_ptr<const Visitor> first, second, third;
  EXPECT_EQ(authorizer.Enter(Bearer("apple"), kGenerate, kNow, first).decision, Decision::kAllowed);
  EXPECT_EQ(authorizer.Enter(Bearer("apple"), kGenerate, kNow, second).decision,
            Decision::kAllowed);
  const Verdict refused = authorizer.Enter(Bearer("apple"), kGenerate, kNow, third);
  EXPECT_EQ(refused.decision, Decision::kConcurrency);
  EXPECT_EQ(third, nullptr);
  EXPECT_GT(RetryDelayOf(refused.ToStatus()).value_or(absl::ZeroDuration()), absl::ZeroDuration());
  first.reset();
  EXPECT_EQ(authorizer.Enter(Bearer("apple"), kGenerate, kNow, third).decision, Decision::kAllowed);
}

TEST_F(AuthorizerTest, LimitsRatesOfEachPrincipalByItself) {
  const std::string policy = R"({"principals": {"*": {"methods": ["*"],
      "requests_per_second": 2, "tokens_per_second": 100}}})";
  Authorizer authorizer("llama", kMethods);
  authorizer.Replace(IdentitiesOf(policy));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kAllowed);
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kAllowed);
  const Verdict refused = Enter(authorizer, Bearer("apple"));
  EXPECT_EQ(refused.decision, Decision::kRequestRate);
  EXPECT_EQ(refused.ToStatus().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryDelayOf(refused.ToStatus()), absl::Milliseconds(500));
  // A new policy forgives nothing.
  authorizer.Replace(IdentitiesOf(policy));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kRequestRate);
  EXPECT_EQ(Enter(authorizer, Bearer("banana")).decision, Decision::kAllowed);

  Wish wish{.tokens = 300};
  EXPECT_EQ(visitor_->Ask(wish, kNow).decision, Decision::kAllowed);
  wish.tokens = 1;
  const Verdict later = visitor_->Ask(wish, kNow);
  EXPECT_EQ(later.decision, Decision::kTokenRate);
  EXPECT_EQ(visitor_->Ask(wish, kNow + later.retry).decision, Decision::kAllowed);
  visitor_.reset();
}

TEST_F(AuthorizerTest, CountsEveryRequestOfACall) {
  Authorizer authorizer("llama", kMethods);
  authorizer.Replace(IdentitiesOf(Alice(R"("requests_per_second": 2)")));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kAllowed);
  Wish wish;
  EXPECT_EQ(visitor_->Ask(wish, kNow).decision, Decision::kAllowed) << "it came with the call";
  EXPECT_EQ(visitor_->Ask(wish, kNow).decision, Decision::kAllowed);
  const Verdict third = visitor_->Ask(wish, kNow);
  EXPECT_EQ(third.decision, Decision::kRequestRate);
  EXPECT_EQ(third.retry, absl::Milliseconds(500));
  EXPECT_EQ(authorizer.Counts().at({kGenerate, Decision::kRequestRate}), 1);
  EXPECT_EQ(visitor_->Ask(wish, kNow + third.retry).decision, Decision::kAllowed);
  visitor_.reset();
}

TEST_F(AuthorizerTest, AReplacementHoldsForRequestsOfCallsThatAreIn) {
  Authorizer authorizer("llama", kMethods);
  authorizer.Replace(IdentitiesOf(Alice("")));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kAllowed);
  std::shared_ptr<const Visitor> before = visitor_;
  const auto ask = [&before](Wish wish = {}) { return before->Ask(wish, kNow).decision; };
  EXPECT_EQ(ask(), Decision::kAllowed);
  EXPECT_EQ(ask({.priority = -1}), Decision::kPriority);
  authorizer.Replace(IdentitiesOf(Alice(R"("priorities": [-1, 0])")));
  EXPECT_EQ(ask({.priority = -1}), Decision::kAllowed);
  authorizer.Replace(IdentitiesOf(R"({"principals": {}})"));
  EXPECT_EQ(ask(), Decision::kMethod);
  authorizer.Replace(IdentitiesOf(Alice(""), "# nobody\n"));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kBadCredentials);
  EXPECT_EQ(ask(), Decision::kBadCredentials);
  // Bob has it now.
  authorizer.Replace(
      IdentitiesOf(R"({"principals": {"bob": {"methods": ["*"]}}})",
                   "bob 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b\n"));
  EXPECT_EQ(Enter(authorizer, Bearer("apple")).decision, Decision::kAllowed);
  EXPECT_EQ(ask(), Decision::kBadCredentials);
  visitor_.reset();
  before.reset();
}

TEST_F(AuthorizerTest, TellsNobodyUnknownWhy) {
  const absl::Status status = ToStatus(Decision::kNoCredentials);
  for (const Decision decision : {Decision::kBadCredentials, Decision::kExpiredToken}) {
    EXPECT_EQ(ToStatus(decision), status);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(ToStatus(Decision::kAllowed).ok());
  EXPECT_EQ(ToStatus(Decision::kTenant).code(), absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace peerage
