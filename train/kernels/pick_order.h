// The picks of a batch in order of the rows that they picked. A row of a table is then read once
// for all who picked it, side by side with its neighbours, and one thread can sum up its gradient
// in a fixed order and without atomics.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace peerage::kernels {

// A row and a pick of it as one number, in whose order picks are: by row, then by position.
using RowPick = int64_t;
constexpr int64_t kMaxRows = int64_t{1} << 31;
constexpr int64_t kMaxPicks = int64_t{1} << 32;
constexpr int64_t RowOf(RowPick pick) { return pick >> 32; }
constexpr int64_t PickOf(RowPick pick) { return pick & 0xffffffff; }

// Orders the picks `first`, `first` + 1 and so on of the rows `ids`, each below num_rows, which is
// at most kMaxRows. Takes time in proportion to the picks, whatever the number of rows.
void OrderPicks(std::span<const int64_t> ids, int64_t num_rows, int64_t first,
                std::span<RowPick> order);

// Picks [begin, end), which lie in [begin, end) of the order.
struct OrderedPart {
  int64_t begin = 0;
  int64_t end = 0;
};

// The parts of an order that was made in parts, one behind the other: where it descends, another
// one begins. (Parts that follow each other in order too are found as one, which they then are.)
std::vector<OrderedPart> PartsOf(std::span<const RowPick> order);

}  // namespace peerage::kernels
