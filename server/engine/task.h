#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/token.h"
#include "server/engine/delivery.h"
#include "server/engine/request.h"
#include "server/engine/request_needs.h"
#include "server/engine/sequence.h"

namespace peerage {

// What a request computes: a trunk, which comes first and once, and branches that go on from its
// end, each by itself. Candidates branch before the prompt's last token, which each computes anew
// in order to sample from it; continuations branch after the context. One candidate needs no trunk.
struct Work {
  struct Branch {
    uint32_t index = 0;                        // of the candidate or continuation
    absl::Span<const TokenId> tokens = {};     // known from the start, at least one
    absl::Span<const TokenId> generated = {};  // behind them, by the same request before
    int64_t positions = 0;                     // at its longest, the trunk's included
  };

  absl::Span<const TokenId> trunk = {};  // may be empty
  std::vector<Branch> branches = {};     // may be none
  int32_t side_by_side = 1;              // branches that have to be able to run at the same time
  std::string salt = {};                 // what was computed under another one is not of use
  // How likely the first tokens are is wanted, with so many alternatives; -1: it is not.
  int32_t prompt_alternatives = -1;
  // More than keys and values is wanted of the positions from here on, so the request computes them
  // itself; INT32_MAX: of none of those that are known.
  int32_t first_needed_position = INT32_MAX;
  bool branches_are_scored = false;  // every token of theirs is to be computed for its own sake
  // Nobody waits for its tokens one by one: it takes what others leave.
  bool is_throughput = false;

  int64_t tokens() const;  // known from the start, of all branches
};

// The spans are the request's.
Work WorkOf(const GenerateRequest& request);
Work WorkOf(const ScoreRequest& request);

// Full blocks of the trunk count once; the last branch to start goes on in the trunk's partial one.
// Of what is not known from the start, so many tokens of each branch count.
RequestNeeds NeedsOf(const Work& work, int32_t block_tokens, int64_t unknown = INT32_MAX);

// Who is due first comes first, then who was submitted first. Everybody is due at some time after
// its arrival that its priority decides, or at its deadline: so nobody waits for ever, whatever
// comes later, and whoever has little time comes before those who have more.
using TaskOrder = std::pair<absl::Time, RequestHandle>;

inline constexpr absl::Duration kPatience = absl::Seconds(20);
inline constexpr absl::Duration kPriorityStep = absl::Milliseconds(100);  // of one level
inline constexpr absl::Duration kThroughputStep = absl::Seconds(1);       // what can wait more

absl::Time DueTime(const SchedulingParams& scheduling, bool is_throughput);

// KV blocks that hold so many positions.
int64_t BlocksFor(int64_t positions, int32_t block_tokens);

// Among whom a server is shared fairly: tenants, and those who name none by their hosts.
std::string SharerOf(const SchedulingParams& scheduling);

// A request from the door to its end, as the scheduler sees it: what there is to compute and when,
// and what is held for it. What becomes of the results is its delivery's business.
//
// Threads: none. It is made at the door, goes through the inbox, and then belongs to one worker.
struct Task {
  Task(RequestHandle handle, SchedulingParams scheduling, Work work, int32_t block_tokens)
      : handle(handle),
        scheduling(std::move(scheduling)),
        sharer(SharerOf(this->scheduling)),
        work(std::move(work)),
        order(DueTime(this->scheduling, this->work.is_throughput), handle),
        needs(NeedsOf(this->work, block_tokens)),
        asks(needs) {}

  const RequestHandle handle;
  const SchedulingParams scheduling;
  const std::string sharer;
  const Work work;  // refers to the delivery's request
  const TaskOrder order;
  const RequestNeeds needs;
  int64_t prompt_tokens = 0;           // of the prompt, or of context and continuations
  std::unique_ptr<Delivery> delivery;  // the worker's; the scheduler does not look at it

  // Progress, the scheduler's.
  RequestNeeds asks;                                 // what is promised when it starts, for which
  int64_t expected_tokens = INT32_MAX;               // of what is not known count at most
  std::unique_ptr<Sequence> trunk;                   // from its start until the last branch's
  std::vector<std::unique_ptr<Sequence>> sequences;  // branches, started and not finished
  std::deque<std::unique_ptr<Sequence>> preempted;   // that are to be started again, first
  size_t num_started = 0;                            // of work.branches
  int32_t trunk_reached = 0;                         // Sequence::reached, of whichever trunk
  CachedPrefix cached;                               // at its first start
  uint32_t preemptions = 0;
  int64_t promised_blocks = 0;                // for what is still to start
  int64_t promised_sequences = 0;             // likewise
  bool started = false;                       // a step of it was scheduled
  std::optional<absl::Time> passed_since;     // it was first in line, and did not fit
  std::optional<absl::Time> held_back_since;  // likewise, or it was to leave room for others
  bool parked = false;                        // its reader is behind: it is not scheduled
  std::optional<absl::Time> behind_since;     // its reader is, also while nobody looks
  absl::Duration patience;                    // how long it may be so from now on
  // It ends with less than that, while others wait for what it holds.
  std::optional<absl::Duration> least_patience;
  absl::Time expiry = absl::InfiniteFuture();  // when it ends if nothing else changes
  absl::Status failure;                        // not OK: it ends with that

  size_t branches_to_start() const { return preempted.size() + work.branches.size() - num_started; }
  bool trunk_is_next() const {
    return !work.trunk.empty() && trunk == nullptr &&
           (branches_to_start() > 0 || work.branches.empty());
  }
  bool has_more_to_start() const { return trunk_is_next() || branches_to_start() > 0; }
  bool done() const {
    return !has_more_to_start() && sequences.empty() && (trunk == nullptr || trunk->pending() == 0);
  }
  // The first one counts.
  void Fail(const absl::Status& status) {
    if (failure.ok()) failure = status;
  }
};

// A task that has ended; its sink has not been told yet.
struct EndedTask {
  std::unique_ptr<Task> task;
  absl::Status status;
};

}  // namespace peerage
