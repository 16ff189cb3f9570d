#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/token_bucket.h"
#include "server/engine/expert_trace.h"
#include "server/identity/bearer_tokens.h"
#include "server/identity/decision.h"
#include "server/identity/permissions.h"
#include "server/identity/policy.h"

namespace peerage {

// Whom the server knows and what they may do.
struct Identities {
  BearerTokens tokens;
  Policy policy;
};

// What a call shows of who makes it.
struct Credentials {
  int authorizations = 0;     // how many headers of that name there are
  std::string authorization;  // the only one: "Bearer TOKEN"
  std::string certificate;    // whom a verified certificate names; empty without one
};

// What a request asks for beside tokens.
struct Wish {
  int32_t priority = 0;
  std::string tenant;  // the policy's where it is empty
  ExpertTraceLevel traces = ExpertTraceLevel::kNone;
  bool hidden_states = false;
  bool expert_control = false;
  double tokens = 0;  // read, and at most generated
};

class Authorizer;

struct Verdict {
  Decision decision = Decision::kAllowed;
  absl::Duration retry;  // after it, where a limit says no

  absl::Status ToStatus() const { return peerage::ToStatus(decision, retry); }
};

// Who was let in with a call, which counts as running until this is destroyed. Threads: safe from
// many.
class Visitor {
 public:
  Visitor(Authorizer* authorizer, Credentials credentials, std::string principal,
          std::string method)
      : authorizer_(authorizer),
        credentials_(std::move(credentials)),
        principal_(std::move(principal)),
        method_(std::move(method)) {}
  ~Visitor();

  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;

  const std::string& principal() const { return principal_; }

  // Whether one of the call's requests may have what it wishes, by what holds now: a stream is open
  // for long, and what its caller showed may be worth nothing any more. Its tokens are then
  // counted, and it is one of the requests a second; the first one was, with the call. Names the
  // tenant where the wish names none.
  Verdict Ask(Wish& wish, absl::Time now) const;

  // The call does not count as running any more, since all that is left is to tell its caller of
  // the end: whoever has heard of it may call again at once. Idempotent; the destructor does so,
  // too.
  void Leave() const;

 private:
  Authorizer* const authorizer_;
  const Credentials credentials_;
  const std::string principal_;
  const std::string method_;
  mutable std::atomic<bool> asked_ = false;
  mutable std::atomic<bool> left_ = false;
};

// Decides who calls and whether he may, and counts what it decided.
//
// Threads: safe from many; every call is short. Must outlive its visitors.
class Authorizer {
 public:
  // How often, by method and decision.
  using Decisions = std::map<std::pair<std::string, Decision>, int64_t>;

  // `model` is what the server serves, and `methods` what it answers. Knows nobody until Replace.
  Authorizer(std::string model, const std::vector<std::string>& methods);

  // From now on. Calls that are in stay; what they ask for is held to it. How much each has used is
  // kept.
  void Replace(Identities identities) ABSL_LOCKS_EXCLUDED(mu_);

  // A call of this method ("peerage.v1.InferenceService/Generate"). `visitor` is set where it is
  // allowed. A token that is shown decides, whatever certificate is there.
  Verdict Enter(const Credentials& credentials, const std::string& method, absl::Time now,
                std::shared_ptr<const Visitor>& visitor) ABSL_LOCKS_EXCLUDED(mu_);

  // Of methods that are not answered as of "other". What is asked for inside of a call that was
  // let in is counted only where it is refused.
  Decisions Counts() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Visitor;

  // What a principal has used.
  struct Use {
    TokenBucket requests{{}, absl::InfinitePast()};
    TokenBucket tokens{{}, absl::InfinitePast()};
    int running = 0;
  };

  Verdict Decide(const Credentials& credentials, const std::string& method, absl::Time now,
                 std::shared_ptr<const Visitor>& visitor) ABSL_LOCKS_EXCLUDED(mu_);
  void Note(const std::string& method, Decision decision) ABSL_LOCKS_EXCLUDED(mu_);
  // The decision is kAllowed, or why nobody is identified.
  Decision Identify(const Identities& identities, const Credentials& credentials, absl::Time now,
                    std::string& principal) const;
  // Who it is, and what he may. The decision is kAllowed, or why he may not call this.
  Decision Admit(const Credentials& credentials, const std::string& method, absl::Time now,
                 std::string& principal, std::shared_ptr<const Permissions>& permissions) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // Another request of a call.
  Verdict CountRequest(const std::string& principal, const Permissions& permissions, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mu_);
  static Verdict TakeRequest(Use& use, const Permissions& permissions, absl::Time now);
  Verdict Count(const std::string& principal, const Permissions& permissions, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mu_);
  Verdict CountTokens(const std::string& principal, const Permissions& permissions, double tokens,
                      absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave(const std::string& principal) ABSL_LOCKS_EXCLUDED(mu_);

  const std::string model_;
  const absl::flat_hash_set<std::string> methods_;

  mutable absl::Mutex mu_;
  std::shared_ptr<const Identities> identities_ ABSL_GUARDED_BY(mu_);
  Decisions decisions_ ABSL_GUARDED_BY(mu_);
  // By principal: as many as tokens and certificates name.
  std::map<std::string, Use> uses_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
