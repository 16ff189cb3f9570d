#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "google/protobuf/repeated_ptr_field.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/hidden_states.h"

namespace peerage {

// Gathers the hidden states of a request's parts as the engine delivers them, in any order, and
// makes the answer of them: the prompt or context first, then the others by index.
//
// Threads: one at a time.
class HiddenAnswer {
 public:
  HiddenAnswer() = default;
  // `layers` are those that the request chose.
  HiddenAnswer(std::vector<uint32_t> layers, uint32_t hidden_size)
      : layers_(std::move(layers)), hidden_size_(hidden_size) {}

  bool wanted() const { return !layers_.empty(); }

  void Add(HiddenStates states) {
    const std::optional<uint32_t> part = states.part;
    parts_[part] = std::move(states);
  }

  // What was added since the last call, as an answer of its own.
  HiddenAnswer Cut();

  // Gives it all away. Copies nothing, but the messages are large: not for a worker's thread.
  void MoveTo(google::protobuf::RepeatedPtrField<v1::HiddenStates>& to);

 private:
  std::vector<uint32_t> layers_;
  uint32_t hidden_size_ = 0;
  std::map<std::optional<uint32_t>, HiddenStates> parts_;
};

}  // namespace peerage
