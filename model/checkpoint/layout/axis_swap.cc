#include "model/checkpoint/layout/axis_swap.h"

#include <cassert>
#include <cstring>

namespace peerage {

void SwapAxes(const AxisSwap& axes, absl::Span<const uint8_t> stored,
              absl::Span<uint8_t> restored) {
  assert(stored.size() == restored.size());
  const int64_t pieces = axes.outer * axes.stored_first * axes.stored_second;
  assert(stored.size() % pieces == 0);
  const size_t piece_bytes = stored.size() / pieces;
  const uint8_t* from = stored.data();
  for (int64_t outer = 0; outer < axes.outer; ++outer) {
    uint8_t* const to =
        restored.data() + outer * axes.stored_first * axes.stored_second * piece_bytes;
    for (int64_t i = 0; i < axes.stored_first; ++i) {
      for (int64_t j = 0; j < axes.stored_second; ++j, from += piece_bytes) {
        std::memcpy(to + (j * axes.stored_first + i) * piece_bytes, from, piece_bytes);
      }
    }
  }
}

}  // namespace peerage
