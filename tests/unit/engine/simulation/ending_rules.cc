#include "tests/unit/engine/simulation/ending_rules.h"

#include <algorithm>
#include <map>

#include "server/engine/retry_delay.h"
#include "server/engine/scheduler.h"

namespace peerage {
namespace {

// Requests or tokens that wait when one more comes: in all, and of the tenant of that one.
struct Crowd {
  int64_t all = 0, own = 0;

  // With `more`, or with more than the limit, when every tenant has an equal part of it.
  bool IsWithin(int64_t limit, int64_t more) const { return all == 0 || all + more <= limit; }
  bool IsWithinPart(int64_t limit, int64_t more, int64_t tenants) const {
    return (own == 0 || tenants * (own + more) <= limit) && all + more <= 2 * limit;
  }
};

}  // namespace

void EndingRules::CheckDoor(const Client& client, const absl::Status& status, LiveClients waiting,
                            bool stopped) {
  Crowd requests, tokens;
  std::map<int, int> waiting_of = {{client.tenant, 0}};
  for (const Client* const other : waiting) {
    if (other->line.admitted || other->reader->done()) continue;
    const int64_t own = other->tenant == client.tenant ? 1 : 0;
    ++waiting_of[other->tenant];
    ++requests.all;
    requests.own += own;
    tokens.all += other->prompt_tokens;
    tokens.own += own * other->prompt_tokens;
  }
  const auto tenants = static_cast<int64_t>(waiting_of.size());
  const InboxLimits& limits = world_.queue;
  const bool is_within = requests.IsWithin(limits.requests, 1) &&
                         tokens.IsWithin(limits.prompt_tokens, client.prompt_tokens);
  const bool full = (!requests.IsWithin(limits.requests, 1) &&
                     !requests.IsWithinPart(limits.requests, 1, tenants)) ||
                    (!tokens.IsWithin(limits.prompt_tokens, client.prompt_tokens) &&
                     !tokens.IsWithinPart(limits.prompt_tokens, client.prompt_tokens, tenants));
  const RequestHandle handle = client.arrival->handle;
  coverage_.refused += !status.ok();
  coverage_.within_part += status.ok() && !is_within;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return verdict_.Require(!stopped && !full, "request ", handle, " is let in, though ",
                              requests.all, " wait");
    case absl::StatusCode::kResourceExhausted:
      return verdict_.Require(full && RetryDelayOf(status).has_value(), "request ", handle,
                              " is refused for a queue of ", requests.all);
    case absl::StatusCode::kUnavailable:
      return verdict_.Require(stopped, "request ", handle, " is refused without a reason");
    case absl::StatusCode::kOutOfRange:
      return verdict_.Require(!world_.is_crowd, "request ", handle, " never fits");
    default:
      verdict_.Require(false, "request ", handle, " is refused: ", status.ToString());
  }
}

void EndingRules::Check(Client& client, LiveClients live, absl::Time now, bool stopped,
                        bool stops) {
  const Reader& reader = *client.reader;
  const RequestHandle handle = client.arrival->handle;
  if (!reader.done()) {
    verdict_.Require(!client.cancelled, "request ", handle, " goes on after it was cancelled");
    verdict_.Require(!client.must_fail, "request ", handle, " goes on after its step failed");
    verdict_.Require(now < client.deadline, "request ", handle, " goes on after its deadline");
    verdict_.Require(reader.begun() || now < client.queue_deadline, "request ", handle,
                     " waits after its queue's deadline");
    verdict_.Require(!stopped, "request ", handle, " goes on after the engine stopped");
    return;
  }
  client.ended = true;
  const absl::StatusCode code = reader.status().code();
  ++coverage_.endings[static_cast<size_t>(code)];
  verdict_.Require(MayEndWith(code, client, live, now, stops), "request ", handle,
                   " ends without a reason: ", reader.status().ToString());
}

// It has slow_reader_timeout at least for all times that its reader is behind, together. One that
// waits again is not looked at: when its reader catches up meanwhile, the scheduler does not know.
// While other tenants wait for what it holds it has a part of that.
bool EndingRules::WasSlowForLong(const Client& client, LiveClients live, absl::Time now) const {
  if (!client.slow_since || client.reader->HasRoom()) return false;
  const absl::Duration slow =
      client.preemptions > 0 ? now - *client.first_slow : client.slow + (now - *client.slow_since);
  if (slow >= world_.slow_reader_timeout) return true;
  const bool has_others = std::any_of(live.begin(), live.end(), [&](const Client* other) {
    return other->tenant != client.tenant;
  });
  const bool was_hurried = has_others && slow >= world_.slow_reader_timeout / Scheduler::kHurry;
  coverage_.hurried += was_hurried;
  return was_hurried;
}

bool EndingRules::MayEndWith(absl::StatusCode code, const Client& client, LiveClients live,
                             absl::Time now, bool stops) const {
  switch (code) {
    case absl::StatusCode::kOk:
      return true;  // its reader has looked whether it has everything
    case absl::StatusCode::kCancelled:
      return client.cancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return now >= client.deadline || client.cancelled ||  // near it: deadline.h
             (!client.reader->begun() && now >= client.queue_deadline);
    case absl::StatusCode::kResourceExhausted:
      return WasSlowForLong(client, live, now);
    case absl::StatusCode::kInternal:
      return client.may_fail;
    case absl::StatusCode::kUnavailable:
      return stops || client.may_be_lost;
    default:
      return false;
  }
}

}  // namespace peerage
