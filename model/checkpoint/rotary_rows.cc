#include "model/checkpoint/rotary_rows.h"

#include <cassert>
#include <cstring>

namespace peerage {

void RestoreRotaryRows(const RotaryRows& rows, absl::Span<const uint8_t> stored,
                       absl::Span<uint8_t> restored) {
  assert(stored.size() == restored.size());
  assert(stored.size() == rows.row_bytes * rows.heads * rows.head_dim);
  const uint64_t half = rows.head_dim / 2;
  const uint8_t* from = stored.data();
  for (int head = 0; head < rows.heads; ++head) {
    uint8_t* const to = restored.data() + rows.row_bytes * rows.head_dim * head;
    for (uint64_t i = 0; i < half; ++i, from += 2 * rows.row_bytes) {
      std::memcpy(to + rows.row_bytes * i, from, rows.row_bytes);
      std::memcpy(to + rows.row_bytes * (i + half), from + rows.row_bytes, rows.row_bytes);
    }
  }
}

}  // namespace peerage
