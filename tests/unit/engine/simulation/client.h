#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/task.h"
#include "tests/unit/engine/simulation/reader.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// A request on its way through a simulation, as an outsider sees it: what the engine's own counters
// say is not believed.
struct Client {
  Client() = default;  // it has not come yet
  Client(const Arrival& arrival, absl::Duration tick, const ReaderParts& parts, absl::Time now);

  const Arrival* arrival = nullptr;
  std::shared_ptr<Reader> reader;
  int tenant = 0;
  TaskOrder order;
  const Task* task = nullptr;  // while it lives
  int64_t prompt_tokens = 0;
  int64_t known_tokens = 0;  // that it brings to its tenant's bill
  int64_t most_tokens = 0;   // that can be computed for it
  absl::Time arrived;
  absl::Time deadline = absl::InfiniteFuture();
  absl::Time queue_deadline = absl::InfiniteFuture();

  // What has happened to it.
  bool cancelled = false;
  std::optional<absl::Time> first_slow;  // its reader fell behind
  std::optional<absl::Time> slow_since;  // likewise, and is
  absl::Duration slow;                   // it was, before that
  bool may_fail = false;                 // it was started for a step that failed
  bool must_fail = false;                // it was in it
  bool may_be_lost = false;              // its worker was lost or hung
  int worker = 0;                        // where it was last seen
  bool runs = false;
  uint32_t preemptions = 0;
  bool ended = false;

  // LineRules', of the line in which it is.
  struct InLine {
    bool joined = false;
    absl::Time since;       // it has
    bool admitted = false;  // and not thrown out since
    bool left = false;
    std::pair<uint32_t, size_t> last_state = {};  // preemptions, and sequences to start
    std::optional<absl::Time> first_since;        // it was first in line, and did not fit
  };
  InLine line;
  bool charged = false;  // to its tenant, in whichever line it was then

  void FallBehind(absl::Time now) {
    if (!first_slow) first_slow = now;
    if (!slow_since) slow_since = now;
    reader->set_has_room(false);
  }
  void CatchUp(absl::Time now) {
    if (slow_since) slow += now - *slow_since;
    slow_since.reset();
    reader->set_has_room(true);
  }
  bool waits() const { return line.joined && !line.admitted && !reader->done(); }
};

// Those that were accepted and have not ended, in the order of arrival.
using LiveClients = absl::Span<Client* const>;

}  // namespace peerage
