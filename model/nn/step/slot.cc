#include "model/nn/step/slot.h"

#include "model/kernels/philox.h"

namespace peerage::nn {

Slot::Slot(const SlotState& state) : sampling_(state.sampling), candidate_(state.candidate) {
  if (sampling_.repetition_penalty != 1) {
    for (const TokenId token : state.prompt) seen_.try_emplace(token, 0);
  }
  for (const TokenId token : state.generated) Remember(token);
}

bool Slot::has_penalty() const {
  return sampling_.repetition_penalty != 1 || sampling_.frequency_penalty != 0 ||
         sampling_.presence_penalty != 0;
}

uint64_t Slot::Random() const {
  const auto low = static_cast<uint32_t>(sampling_.seed);
  const auto high = static_cast<uint32_t>(sampling_.seed >> 32);
  const auto bits = Philox({generated_, candidate_, 0, 0}, {low, high});
  return bits[0] | uint64_t{bits[1]} << 32;
}

void Slot::Remember(TokenId token) {
  ++generated_;
  if (has_penalty()) ++seen_[token];
}

}  // namespace peerage::nn
