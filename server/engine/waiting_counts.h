#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "server/engine/task.h"

namespace peerage {

// So many requests that wait, and the tokens of their prompts and contexts.
struct Waiting {
  int64_t requests = 0;
  int64_t prompt_tokens = 0;

  Waiting& operator+=(const Waiting& more) {
    requests += more.requests;
    prompt_tokens += more.prompt_tokens;
    return *this;
  }
};

inline Waiting WaitingOf(const Task& task) { return {1, task.prompt_tokens}; }

// A tenant has so much more that waits, or less.
struct WaitingChange {
  std::string tenant;
  Waiting more;
};

inline WaitingChange BeginsToWait(const Task& task) { return {task.sharer, WaitingOf(task)}; }
inline WaitingChange CeasesToWait(const Task& task) {
  return {task.sharer, {-1, -task.prompt_tokens}};
}

// Of requests, tokens or texts: whether there may be so many `more` beside those that wait, of
// which a tenant, one of `num_tenants` of which something waits or would, has some. Beyond the
// limit whoever has less than an equal part of it may wait still, until twice as much waits in all.
inline bool HasRoom(int64_t more, int64_t waiting, int64_t of_tenant, int64_t limit,
                    int64_t num_tenants) {
  if (waiting == 0 || waiting <= limit - more) return true;
  const bool is_within_part = of_tenant == 0 || of_tenant <= limit / num_tenants - more;
  return is_within_part && waiting - limit <= limit - more;
}

// What waits, in all and of each tenant.
class WaitingCounts {
 public:
  void Add(const WaitingChange& change) {
    all_ += change.more;
    Waiting& tenant = tenants_[change.tenant];
    tenant += change.more;
    if (tenant.requests == 0) tenants_.erase(change.tenant);
  }

  const Waiting& all() const { return all_; }
  Waiting Of(const std::string& tenant) const {
    const auto found = tenants_.find(tenant);
    return found == tenants_.end() ? Waiting() : found->second;
  }
  // Those of which something waits.
  int64_t num_tenants() const { return static_cast<int64_t>(tenants_.size()); }

 private:
  Waiting all_;
  std::unordered_map<std::string, Waiting> tenants_;
};

}  // namespace peerage
