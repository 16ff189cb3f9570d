#include "server/identity/authorizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/engine/retry_delay.h"
#include "server/identity/principal.h"

namespace peerage {
namespace {

// Health, reflection and the server's own state are nobody's model.
bool ConcernsModel(absl::string_view method) {
  return absl::StartsWith(method, "peerage.v1.") &&
         !absl::StartsWith(method, "peerage.v1.AdminService/");
}

// The token of "Bearer TOKEN" (RFC 6750, section 2.1; the scheme in any case, RFC 9110, section
// 11.1); empty for anything else.
absl::string_view BearerToken(absl::string_view authorization) {
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return "";
  return absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
}

// A second's worth at once, and one at least.
absl::Duration TakeOrWait(TokenBucket& bucket, double cost, double per_second, absl::Time now) {
  bucket.SetLimits({.at_once = std::max(1.0, per_second), .per_second = per_second});
  return bucket.TakeOrWait(cost, now);
}

Decision Judge(const Permissions& permissions, const std::string& principal, Wish& wish) {
  const std::vector<std::string> own = {principal};
  const std::vector<std::string>& tenants = permissions.tenants.empty() ? own : permissions.tenants;
  if (wish.tenant.empty() && tenants.front() != "*") wish.tenant = tenants.front();
  if (!Lists(tenants, wish.tenant)) return Decision::kTenant;
  if (wish.priority < permissions.first_priority || wish.priority > permissions.last_priority) {
    return Decision::kPriority;
  }
  if (wish.traces > permissions.traces) return Decision::kTraces;
  if (wish.hidden_states && !permissions.hidden_states) return Decision::kHiddenStates;
  if (wish.expert_control && !permissions.expert_control) return Decision::kExpertControl;
  return Decision::kAllowed;
}

}  // namespace

Visitor::~Visitor() { Leave(); }

void Visitor::Leave() const {
  if (!left_.exchange(true)) authorizer_->Leave(principal_);
}

Verdict Visitor::Ask(Wish& wish, absl::Time now) const {
  std::string principal;
  std::shared_ptr<const Permissions> permissions;
  Verdict verdict{authorizer_->Admit(credentials_, method_, now, principal, permissions)};
  // A token may have become somebody else's.
  if (verdict.decision == Decision::kAllowed && principal != principal_) {
    verdict = {Decision::kBadCredentials};
  }
  if (verdict.decision == Decision::kAllowed) {
    verdict = {Judge(*permissions, principal_, wish)};
  }
  if (verdict.decision == Decision::kAllowed && asked_.exchange(true)) {
    verdict = authorizer_->CountRequest(principal_, *permissions, now);
  }
  if (verdict.decision == Decision::kAllowed) {
    verdict = authorizer_->CountTokens(principal_, *permissions, wish.tokens, now);
  }
  if (verdict.decision != Decision::kAllowed) authorizer_->Note(method_, verdict.decision);
  return verdict;
}

Authorizer::Authorizer(std::string model, const std::vector<std::string>& methods)
    : model_(std::move(model)),
      methods_(methods.begin(), methods.end()),
      identities_(std::make_shared<const Identities>()) {}

void Authorizer::Replace(Identities identities) {
  auto replacement = std::make_shared<const Identities>(std::move(identities));
  absl::MutexLock lock(&mu_);
  identities_.swap(replacement);
}

Authorizer::Decisions Authorizer::Counts() const {
  absl::MutexLock lock(&mu_);
  return decisions_;
}

void Authorizer::Note(const std::string& method, Decision decision) {
  absl::MutexLock lock(&mu_);
  ++decisions_[{methods_.contains(method) ? method : "other", decision}];
}

Verdict Authorizer::Enter(const Credentials& credentials, const std::string& method, absl::Time now,
                          std::shared_ptr<const Visitor>& visitor) {
  const Verdict verdict = Decide(credentials, method, now, visitor);
  Note(method, verdict.decision);
  return verdict;
}

Verdict Authorizer::Decide(const Credentials& credentials, const std::string& method,
                           absl::Time now, std::shared_ptr<const Visitor>& visitor) {
  std::string principal;
  std::shared_ptr<const Permissions> permissions;
  const Decision admitted = Admit(credentials, method, now, principal, permissions);
  if (admitted != Decision::kAllowed) return {admitted};
  const Verdict counted = Count(principal, *permissions, now);
  if (counted.decision == Decision::kAllowed) {
    visitor = std::make_shared<const Visitor>(this, credentials, std::move(principal), method);
  }
  return counted;
}

Decision Authorizer::Admit(const Credentials& credentials, const std::string& method,
                           absl::Time now, std::string& principal,
                           std::shared_ptr<const Permissions>& permissions) const {
  std::shared_ptr<const Identities> identities;
  {
    absl::MutexLock lock(&mu_);
    identities = identities_;
  }
  const Decision identified = Identify(*identities, credentials, now, principal);
  if (identified != Decision::kAllowed) return identified;
  permissions = identities->policy.Find(principal);
  const bool allowed = permissions != nullptr && permissions->methods.contains(method);
  // Who has shown nothing may have forgotten to.
  if (!allowed && principal == kAnonymous) return Decision::kNoCredentials;
  if (!allowed) return Decision::kMethod;
  if (ConcernsModel(method) && !Lists(permissions->models, model_)) return Decision::kModel;
  return Decision::kAllowed;
}

Decision Authorizer::Identify(const Identities& identities, const Credentials& credentials,
                              absl::Time now, std::string& principal) const {
  if (credentials.authorizations == 0) {
    principal = credentials.certificate.empty() ? kAnonymous : credentials.certificate;
    return Decision::kAllowed;
  }
  const absl::string_view token = BearerToken(credentials.authorization);
  if (credentials.authorizations > 1 || token.empty()) return Decision::kBadCredentials;
  FoundToken found = identities.tokens.Find(token, now);
  if (found.state == TokenState::kUnknown) return Decision::kBadCredentials;
  if (found.state == TokenState::kExpired) return Decision::kExpiredToken;
  principal = std::move(found.name);
  return Decision::kAllowed;
}

Verdict Authorizer::Count(const std::string& principal, const Permissions& permissions,
                          absl::Time now) {
  absl::MutexLock lock(&mu_);
  Use& use = uses_[principal];
  if (permissions.concurrency.has_value() && use.running >= *permissions.concurrency) {
    return {Decision::kConcurrency, kRetrySoon};
  }
  const Verdict verdict = TakeRequest(use, permissions, now);
  if (verdict.decision == Decision::kAllowed) ++use.running;
  return verdict;
}

Verdict Authorizer::CountRequest(const std::string& principal, const Permissions& permissions,
                                 absl::Time now) {
  absl::MutexLock lock(&mu_);
  return TakeRequest(uses_[principal], permissions, now);
}

Verdict Authorizer::TakeRequest(Use& use, const Permissions& permissions, absl::Time now) {
  if (!permissions.requests_per_second.has_value()) return {};
  const absl::Duration wait = TakeOrWait(use.requests, 1, *permissions.requests_per_second, now);
  if (wait > absl::ZeroDuration()) return {Decision::kRequestRate, wait};
  return {};
}

Verdict Authorizer::CountTokens(const std::string& principal, const Permissions& permissions,
                                double tokens, absl::Time now) {
  if (!permissions.tokens_per_second.has_value()) return {};
  absl::MutexLock lock(&mu_);
  const absl::Duration wait =
      TakeOrWait(uses_[principal].tokens, tokens, *permissions.tokens_per_second, now);
  if (wait > absl::ZeroDuration()) return {Decision::kTokenRate, wait};
  return {};
}

void Authorizer::Leave(const std::string& principal) {
  absl::MutexLock lock(&mu_);
  --uses_[principal].running;
}

}  // namespace peerage
