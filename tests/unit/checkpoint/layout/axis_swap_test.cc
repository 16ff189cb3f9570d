#include "model/checkpoint/layout/axis_swap.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace peerage {
namespace {

std::vector<uint8_t> Swapped(const AxisSwap& axes, const std::vector<uint8_t>& stored) {
  std::vector<uint8_t> restored(stored.size());
  SwapAxes(axes, stored, absl::MakeSpan(restored));
  return restored;
}

TEST(AxisSwapTest, PutsEveryPieceInItsPlace) {
  constexpr int kPieceBytes = 5;
  for (const int outer : {1, 3, 9}) {
    for (const int first : {1, 2, 7}) {
      for (const int second : {1, 2, 32}) {
        std::vector<uint8_t> stored(outer * first * second * kPieceBytes);
        for (size_t i = 0; i < stored.size(); ++i) {
          stored[i] = static_cast<uint8_t>(i * 37 + i / 256);
        }
        const std::vector<uint8_t> restored =
            Swapped({.outer = outer, .stored_first = first, .stored_second = second}, stored);
        for (int o = 0; o < outer; ++o) {
          for (int i = 0; i < first; ++i) {
            for (int j = 0; j < second; ++j) {
              const int to = ((o * second + j) * first + i) * kPieceBytes;
              const int from = ((o * first + i) * second + j) * kPieceBytes;
              for (int byte = 0; byte < kPieceBytes; ++byte) {
                ASSERT_EQ(restored[to + byte], stored[from + byte])
                    << outer << " x " << first << " x " << second << ": " << o << ", " << i << ", "
                    << j;
              }
            }
          }
        }
      }
    }
  }
}

// A GGUF's query rows: row r of a head comes from stored row 2r when r lies in the first half, else
// from 2(r - d/2) + 1.
TEST(AxisSwapTest, RestoresRotaryRows) {
  constexpr int kHeads = 3, kHeadDim = 8, kHalf = kHeadDim / 2;
  std::vector<uint8_t> stored(kHeads * kHeadDim);
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<uint8_t>(i);

  const std::vector<uint8_t> restored =
      Swapped({.outer = kHeads, .stored_first = kHalf, .stored_second = 2}, stored);

  for (int row = 0; row < kHeads * kHeadDim; ++row) {
    const int r = row % kHeadDim;
    EXPECT_EQ(restored[row], row - r + (r < kHalf ? 2 * r : 2 * (r - kHalf) + 1)) << row;
  }
}

}  // namespace
}  // namespace peerage
