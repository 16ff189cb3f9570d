#include "train/kernels/pick_runs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <utility>

namespace peerage::kernels {
namespace {

constexpr int kDigitBits = 11;
constexpr size_t kDigits = size_t{1} << kDigitBits;

// One pass of a radix sort: moves `from` into `to` by a digit of the ids, keeping the order of
// equals.
void SortByDigit(std::span<const int64_t> ids, int shift, std::span<const uint32_t> from,
                 std::span<uint32_t> to) {
  const auto digit = [&](uint32_t pick) { return ids[pick] >> shift & (kDigits - 1); };
  std::array<uint32_t, kDigits> place{};
  for (const uint32_t pick : from) ++place[digit(pick)];
  uint32_t before = 0;
  for (uint32_t& count : place) before += std::exchange(count, before);
  for (const uint32_t pick : from) to[place[digit(pick)]++] = pick;
}

}  // namespace

PickRuns SortPicks(std::span<const int64_t> ids, int64_t num_rows) {
  PickRuns runs;
  runs.order.resize(ids.size());
  std::iota(runs.order.begin(), runs.order.end(), 0u);
  const int bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(num_rows - 1, 0)));
  std::vector<uint32_t> sorted(ids.size());
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    SortByDigit(ids, shift, runs.order, sorted);
    runs.order.swap(sorted);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t row = ids[runs.order[i]];
    if (!runs.rows.empty() && runs.rows.back() == row) continue;
    runs.rows.push_back(row);
    runs.ends.push_back(static_cast<uint32_t>(i));
  }
  runs.ends.push_back(static_cast<uint32_t>(ids.size()));
  return runs;
}

}  // namespace peerage::kernels
