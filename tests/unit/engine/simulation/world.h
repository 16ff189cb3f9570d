#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/inbox.h"
#include "server/engine/request.h"

namespace peerage {

// A request that comes at the beginning of a turn of the worker.
struct Arrival {
  int turn = 0;
  RequestHandle handle = 0;  // from 1 on, in the order of arrival
  std::variant<GenerateRequest, ScoreRequest> request;
  int deadline_turns = 0;        // after its arrival; 0: none
  int queue_deadline_turns = 0;  // likewise

  const SchedulingParams& scheduling() const;
};

// Something else that happens then.
struct Disturbance {
  enum class Kind {
    kCancel,
    kReaderFallsBehind,
    kReaderCatchesUp,
    kStepFails,
    kStepThrows,
    kModelIsLost,
    kStop,          // everything ends
    kStepHangs,     // this one, and the next two, of worlds with workers
    kLoadFails,     // the next model of the worker
    kDeviceIsGone,  // the worker gets no model any more
  };
  int turn = 0;
  Kind kind = Kind::kCancel;
  RequestHandle handle = 0;  // of the first three
  int worker = 0;            // of the others, in worlds with workers
};

// Everything that a run depends on.
struct World {
  uint64_t seed = 0;
  // 0: one alone. Else so many behind a router, whose models are replaced when they fail or hang;
  // the limits are each one's.
  int workers = 0;
  int32_t max_batch_tokens = 64;
  int32_t max_sequences = 8;
  int32_t block_tokens = 4;
  int32_t num_blocks = 60;
  InboxLimits queue;
  absl::Duration tick;   // from turn to turn
  absl::Duration step;   // what a step of the model takes
  absl::Duration token;  // and each token of it, beside that
  absl::Duration slow_reader_timeout;
  bool prefix_cache = false;
  bool optimistic = false;  // admission
  bool poisoned = false;    // a chunk with kPoison in it fails
  // Everybody comes at once and needs equally much, so that nobody can be passed, and tenants with
  // waiting tasks are served alike.
  bool is_crowd = false;
  std::vector<Arrival> arrivals;          // in their order
  std::vector<Disturbance> disturbances;  // by turn
};

inline constexpr TokenId kPoison = 26;
inline constexpr int32_t kContextLength = 64;

// A small world of extreme parameters, with some of the things that can happen, not all at once.
World MakeWorld(uint64_t seed);

// For people.
std::string ToText(const World& world);

}  // namespace peerage
