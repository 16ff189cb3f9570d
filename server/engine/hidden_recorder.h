#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "server/engine/hidden_states.h"
#include "server/engine/step_builder.h"

namespace peerage {

// Keeps the hidden states of a running request, in parts as TraceRecorder does. A token that is
// computed again, by another candidate or after a preemption, is asked for and kept once: it has
// the same row.
//
// Threads: none; belongs to one worker.
class HiddenRecorder {
 public:
  // `choice` must outlive the recorder; `prompt_tokens` come before the `parts`.
  HiddenRecorder(const HiddenStatesChoice* choice, size_t prompt_tokens, size_t parts)
      : choice_(choice), prompt_tokens_(prompt_tokens), num_parts_(parts) {}

  // The request's first step is scheduled: one that waits keeps nothing.
  void Start();

  bool wanted() const { return choice_->wanted(); }

  // Asks for what is wanted of the next `count` tokens of this part's sequence, or of the trunk:
  // the chunk that was added last.
  void AddRows(size_t part, int32_t first_position, int32_t count, StepBuilder& step) const;
  // What a step reported of them.
  void Keep(size_t part, const ChunkResult& result);

  // What the prompt has so far; complete as soon as a part has any token of its own or has sampled
  // one. To be taken once.
  HiddenStates TakePrompt() { return std::exchange(records_[0].states, {}); }
  HiddenStates TakePart(size_t part) { return std::exchange(records_[part + 1].states, {}); }

 private:
  struct Record {
    HiddenStates states;
    uint32_t next = 0;  // what is below has been recorded, or is not wanted
  };
  // Where a position of the part's sequence belongs in records_.
  size_t PlaceOf(size_t part, uint32_t position) const {
    return position < prompt_tokens_ ? 0 : part + 1;
  }

  const HiddenStatesChoice* const choice_;
  const size_t prompt_tokens_;
  const size_t num_parts_;
  std::vector<Record> records_;  // the prompt's, then the parts'
};

}  // namespace peerage
