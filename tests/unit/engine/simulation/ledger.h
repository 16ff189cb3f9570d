#pragma once

#include <array>
#include <cstdint>

#include "server/engine/observer.h"
#include "tests/unit/engine/simulation/verdict.h"

namespace peerage {

// What clients got and what was told of it, in sums that must agree after every turn; what a run
// went through, for who wants to know whether it was worth it; and a hash of all that happened, in
// order.
struct Ledger {
  // What readers got.
  int64_t generated = 0;
  int64_t scored = 0;
  int64_t candidates_begun = 0;  // that have a token
  int64_t begun_prompts = 0;     // tokens of the prompts of all that have begun
  int64_t cached = 0;            // tokens that requests found in the cache
  int64_t cached_prompts = 0;    // likewise, of their prompts
  int64_t preemptions = 0;       // as an outsider sees them
  int64_t whole_prompts = 0;     // of those that have a token: their prompts are computed

  int64_t broken_steps = 0;  // not of readers, but of the world

  // What the observer was told.
  TokensEvent told;
  int64_t told_inter_tokens = 0;
  int64_t failed_steps = 0;
  StepEvent last_step;
  bool tokens_told_late = false;  // after the end of a request

  // Everybody was told the same, once.
  void Check(Verdict& verdict) const;

  uint64_t log = 0;
  void Log(uint64_t event) {
    log = (log ^ event) * 0x9E3779B97F4A7C15;
    log ^= log >> 29;
  }
};

// What a run went through, so that a quiet one does not pass for a thorough one.
struct Coverage {
  uint64_t steps = 0;
  uint64_t full_steps = 0;     // that took the whole budget
  uint64_t shared_blocks = 0;  // counted in each step, as the next two
  uint64_t extra_sequences = 0;
  uint64_t parked = 0;
  uint64_t refused = 0;
  uint64_t within_part = 0;  // let in though the queue is full, for others have filled it
  uint64_t hurried = 0;      // ended for slow readers before their time, for others wait
  uint64_t resumed = 0;
  uint64_t cached = 0;  // tokens
  uint64_t preemptions = 0;
  uint64_t recomputed = 0;  // tokens
  uint64_t hangs = 0;
  uint64_t rebuilt = 0;                   // models
  uint64_t moved = 0;                     // requests that run elsewhere than they came
  uint64_t rejoined = 0;                  // that stand in another worker's line, or its next one's
  uint64_t patient = 0;                   // were first in line for the passing limit
  uint64_t left_room = 0;                 // turns in which a tenant had to, certainly
  uint64_t fair_admissions = 0;           // of one tenant's tasks while another's waited
  std::array<uint64_t, 17> endings = {};  // by code
};

}  // namespace peerage
