#include "train/kernels/pick_order.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace peerage::kernels {
namespace {

// Some bits of the rows, by which one pass of a radix sort orders.
struct Digit {
  int shift = 0;
  int bits = 0;

  size_t Of(RowPick pick) const {
    return static_cast<size_t>(pick >> (32 + shift)) & ((size_t{1} << bits) - 1);
  }
};

// Moves `from` into `to` by a digit, keeping the order of equals.
void SortByDigit(Digit digit, std::span<const RowPick> from, std::span<RowPick> to) {
  uint32_t place[size_t{1} << kMaxBlockBits] = {};
  for (const RowPick pick : from) ++place[digit.Of(pick)];
  uint32_t before = 0;
  for (size_t i = 0; i < size_t{1} << digit.bits; ++i) before += std::exchange(place[i], before);
  for (const RowPick pick : from) to[place[digit.Of(pick)]++] = pick;
}

}  // namespace

void OrderByBlock(std::span<const int64_t> ids, const RowBlocks& blocks, int64_t first,
                  std::span<RowPick> order) {
  const int end = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(blocks.num_rows - 1, 0)));
  const int bits = std::max(end - blocks.block_bits, 0);
  const int passes = (bits + kMaxBlockBits - 1) / kMaxBlockBits;
  std::vector<RowPick> other(passes > 0 ? ids.size() : 0);
  std::span<RowPick> from = passes % 2 == 0 ? order : other;
  std::span<RowPick> to = passes % 2 == 0 ? other : order;
  for (size_t i = 0; i < ids.size(); ++i) {
    from[i] = ids[i] << 32 | (first + static_cast<int64_t>(i));
  }
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = bits * pass / passes;
    SortByDigit({blocks.block_bits + shift, bits * (pass + 1) / passes - shift}, from, to);
    std::swap(from, to);
  }
}

void OrderByRow(const RowBlocks& blocks, std::span<RowPick> order) {
  std::vector<RowPick> other;
  for (auto begin = order.begin(); begin != order.end();) {
    const auto end = std::find_if(
        begin, order.end(), [&](RowPick pick) { return blocks.Of(pick) != blocks.Of(*begin); });
    other.assign(begin, end);
    SortByDigit({0, blocks.block_bits}, other, {begin, end});
    begin = end;
  }
}

std::vector<OrderedPart> PartsOf(const RowBlocks& blocks, std::span<const RowPick> order) {
  std::vector<OrderedPart> parts;
  const auto size = static_cast<int64_t>(order.size());
  for (int64_t begin = 0, end = 1; begin < size; begin = end++) {
    while (end < size && blocks.Of(order[end - 1]) <= blocks.Of(order[end])) ++end;
    parts.push_back({begin, end});
  }
  return parts;
}

}  // namespace peerage::kernels
