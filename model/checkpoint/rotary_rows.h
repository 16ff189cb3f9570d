#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace peerage {

// The rows of a query or key projection, [heads * head_dim, row_bytes].
struct RotaryRows {
  int heads = 0;
  int head_dim = 0;  // even
  uint64_t row_bytes = 0;
};

// GGUF files of the llama architecture hold each head's query and key rows in the order of
// interleaved rotary pairs: stored rows 2i and 2i + 1 of a head are its rows i and i + head_dim/2.
// Writes them to `restored` in their own order. Rows move as stored: a quantised block never
// crosses rows. Preconditions: both spans are heads * head_dim * row_bytes long and do not overlap.
void RestoreRotaryRows(const RotaryRows& rows, absl::Span<const uint8_t> stored,
                       absl::Span<uint8_t> restored);

}  // namespace peerage
