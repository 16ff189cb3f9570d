// The picks of a batch in order of what they picked: all picks of one row of a table lie side by
// side, so that one thread can sum up the row's gradient in a fixed order and without atomics.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace peerage::kernels {

struct PickRuns {
  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  // Of run r, ascending.
  std::span<const uint32_t> picks(int64_t r) const {
    return {order.data() + ends[r], order.data() + ends[r + 1]};
  }

  std::vector<int64_t> rows;    // that were picked, ascending
  std::vector<uint32_t> ends;   // [size() + 1], from 0
  std::vector<uint32_t> order;  // of picks: by row, then by position
};

// ids[pick] < num_rows, of fewer than 2^32 picks. Takes time in proportion to the picks, whatever
// the number of rows.
PickRuns SortPicks(std::span<const int64_t> ids, int64_t num_rows);

}  // namespace peerage::kernels
