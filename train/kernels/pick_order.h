// The picks of a batch in two orders. By blocks of rows: what a block of a table has is added to
// token after token, whose sums stay in registers while the block stays in the cache. By rows: the
// gradient of a row is one sum over its picks. Both run in a fixed order and without atomics.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace peerage::kernels {

// A row and a pick of it as one number.
using RowPick = int64_t;
constexpr int64_t kMaxRows = int64_t{1} << 31;
constexpr int64_t kMaxPicks = int64_t{1} << 32;
constexpr int64_t RowOf(RowPick pick) { return pick >> 32; }
constexpr int64_t PickOf(RowPick pick) { return pick & 0xffffffff; }

// Blocks of 2^block_bits rows of a table that has num_rows, at most kMaxRows.
struct RowBlocks {
  int64_t num_rows = 0;
  int block_bits = 0;  // at most kMaxBlockBits

  int64_t Of(RowPick pick) const { return RowOf(pick) >> block_bits; }
};
constexpr int kMaxBlockBits = 11;  // so many counts stay in the L1 cache

// Orders the picks `first`, `first` + 1 and so on of the rows `ids`, each below num_rows: by block,
// then by position. Takes time in proportion to the picks, whatever the number of rows.
void OrderByBlock(std::span<const int64_t> ids, const RowBlocks& blocks, int64_t first,
                  std::span<RowPick> order);

// Orders such an order by row, then by position.
void OrderByRow(const RowBlocks& blocks, std::span<RowPick> order);

// Picks [begin, end), which lie in [begin, end) of the order.
struct OrderedPart {
  int64_t begin = 0;
  int64_t end = 0;
};

// The parts of an order by block that was made in parts, one behind the other: where blocks
// descend, another one begins. (Parts that follow each other in order too are found as one, which
// they then are.)
std::vector<OrderedPart> PartsOf(const RowBlocks& blocks, std::span<const RowPick> order);

}  // namespace peerage::kernels
