#include "model/checkpoint/rotary_rows.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace peerage {
namespace {

// The formula of notes on GGUF, row by row: row r of a head comes from stored row 2r when r lies in
// the first half, else from 2(r - d/2) + 1.
int StoredRow(int row, int head_dim) {
  const int head = row / head_dim, r = row % head_dim, half = head_dim / 2;
  return head * head_dim + (r < half ? 2 * r : 2 * (r - half) + 1);
}

TEST(RotaryRowsTest, RestoresEveryRowOfEveryHead) {
  for (const int heads : {1, 3, 9}) {
    for (const int head_dim : {2, 4, 6, 64}) {
      constexpr int kRowBytes = 5;
      std::vector<uint8_t> stored(heads * head_dim * kRowBytes);
      for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<uint8_t>(i * 37 + i / 256);
      std::vector<uint8_t> restored(stored.size());

      RestoreRotaryRows({.heads = heads, .head_dim = head_dim, .row_bytes = kRowBytes}, stored,
                        absl::MakeSpan(restored));

      for (int row = 0; row < heads * head_dim; ++row) {
        for (int byte = 0; byte < kRowBytes; ++byte) {
          ASSERT_EQ(restored[row * kRowBytes + byte],
                    stored[StoredRow(row, head_dim) * kRowBytes + byte])
              << heads << " heads of " << head_dim << ", row " << row << ", byte " << byte;
        }
      }
    }
  }
}

// The converter's own description: reshape to (heads, 2, d/2), swap the last two axes.
TEST(RotaryRowsTest, UndoesTheConvertersTranspose) {
  constexpr int kHeads = 3, kHeadDim = 8, kHalf = kHeadDim / 2;
  std::vector<uint8_t> original(kHeads * kHeadDim), stored(original.size());
  for (size_t i = 0; i < original.size(); ++i) original[i] = static_cast<uint8_t>(i);
  for (int head = 0; head < kHeads; ++head) {
    for (int part = 0; part < 2; ++part) {
      for (int i = 0; i < kHalf; ++i) {
        stored[(head * kHalf + i) * 2 + part] = original[(head * 2 + part) * kHalf + i];
      }
    }
  }
  std::vector<uint8_t> restored(original.size());

  RestoreRotaryRows({.heads = kHeads, .head_dim = kHeadDim, .row_bytes = 1}, stored,
                    absl::MakeSpan(restored));

  EXPECT_EQ(restored, original);
}

}  // namespace
}  // namespace peerage
