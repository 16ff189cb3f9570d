#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace peerage {

// Which hidden states a request wants: of these layers (as HiddenRow counts them), the rows of the
// tokens at these positions, which count through prompt and generated tokens, or through the
// context and each continuation. The same for all candidates or continuations.
struct HiddenStatesChoice {
  std::vector<uint32_t> layers = {};     // ascending; none: nothing is wanted
  std::vector<uint32_t> positions = {};  // ascending
  uint32_t all_before = 0;               // and every position below,
  uint32_t all_from = UINT32_MAX;        // and every position from here on

  bool wanted() const { return !layers.empty(); }
  bool Has(uint32_t position) const;
  // How many of the positions from `first` to before `end` it has.
  uint64_t Count(uint32_t first, uint32_t end) const;
  // The lowest it may have; INT32_MAX: none.
  int32_t First() const;
};

// The hidden states of a part of a request: of its prompt or context, or of one of its candidates
// or continuations.
struct HiddenStates {
  std::optional<uint32_t> part;     // the candidate or continuation; unset: before them
  std::vector<uint32_t> positions;  // ascending
  // By layer of the choice [positions][hidden_size], little-endian float32: as answers have them,
  // so that nothing is copied again.
  std::vector<std::string> layers;
};

}  // namespace peerage
