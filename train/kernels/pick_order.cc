#include "train/kernels/pick_order.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace peerage::kernels {
namespace {

constexpr int kMaxDigitBits = 11;  // so many counts stay in the L1 cache

// One pass of a radix sort: moves `from` into `to` by a digit of the rows, keeping the order of
// equals. `place`: how often each digit occurs.
struct Digit {
  int shift = 0;
  int bits = 0;

  size_t Of(RowPick pick) const {
    return static_cast<size_t>(pick >> (32 + shift)) & ((size_t{1} << bits) - 1);
  }
};

void SortByDigit(Digit digit, std::span<const RowPick> from, std::span<RowPick> to) {
  std::vector<uint32_t> place(size_t{1} << digit.bits);
  for (const RowPick pick : from) ++place[digit.Of(pick)];
  uint32_t before = 0;
  for (uint32_t& count : place) before += std::exchange(count, before);
  for (const RowPick pick : from) to[place[digit.Of(pick)]++] = pick;
}

}  // namespace

void OrderPicks(std::span<const int64_t> ids, int64_t num_rows, int64_t first,
                std::span<RowPick> order) {
  for (size_t i = 0; i < ids.size(); ++i) {
    order[i] = ids[i] << 32 | (first + static_cast<int64_t>(i));
  }
  const int bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(num_rows - 1, 0)));
  const int passes = (bits + kMaxDigitBits - 1) / kMaxDigitBits;
  std::vector<RowPick> other(passes > 0 ? ids.size() : 0);
  std::span<RowPick> from = order, to = other;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = bits * pass / passes;
    SortByDigit({shift, bits * (pass + 1) / passes - shift}, from, to);
    std::swap(from, to);
  }
  if (from.data() != order.data()) std::copy(from.begin(), from.end(), order.begin());
}

std::vector<OrderedPart> PartsOf(std::span<const RowPick> order) {
  std::vector<OrderedPart> parts;
  const auto size = static_cast<int64_t>(order.size());
  for (int64_t begin = 0; begin < size;) {
    const auto end = std::is_sorted_until(order.begin() + begin, order.end()) - order.begin();
    parts.push_back({begin, end});
    begin = end;
  }
  return parts;
}

}  // namespace peerage::kernels
