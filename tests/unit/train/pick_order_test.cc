#include "train/kernels/pick_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "train/kernels/divisor.h"

namespace peerage::kernels {
namespace {

std::vector<int64_t> RandomIds(int64_t num_rows, int count) {
  std::mt19937 random(3);
  std::vector<int64_t> ids(count);
  for (int i = 0; i < count; ++i) {
    ids[i] = i % 3 == 2 ? ids[i - 2] : static_cast<int64_t>(random() % num_rows);
  }
  return ids;
}

// Such an order of `count` picks, the first of which is `first`, made by comparing.
template <typename Place>
std::vector<RowPick> Expected(const std::vector<int64_t>& ids, int64_t first, const Place& place) {
  std::vector<RowPick> order;
  for (size_t i = 0; i < ids.size(); ++i) {
    order.push_back(ids[i] << 32 | (first + static_cast<int64_t>(i)));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](RowPick a, RowPick b) { return place(a) < place(b); });
  return order;
}

TEST(PickOrderTest, IsByBlockOrRowAndThenByPosition) {
  for (const int64_t num_rows : {int64_t{1}, int64_t{2}, int64_t{2047}, int64_t{2048},
                                 int64_t{2049}, int64_t{5000000}, kMaxRows}) {
    for (const int block_bits : {0, 1, 5, kMaxBlockBits}) {
      for (const int count : {0, 1, 2, 5000}) {
        SCOPED_TRACE(testing::Message()
                     << num_rows << " rows, " << count << " picks, blocks of 2^" << block_bits);
        const RowBlocks blocks{num_rows, block_bits};
        const std::vector<int64_t> ids = RandomIds(num_rows, count);
        constexpr int64_t kFirst = kMaxPicks - 5000;  // the largest positions
        std::vector<RowPick> order(count);

        OrderByBlock(ids, blocks, kFirst, order);

        EXPECT_EQ(order, Expected(ids, kFirst, [&](RowPick pick) { return blocks.Of(pick); }));
        EXPECT_EQ(PartsOf(blocks, order).size(), count == 0 ? 0 : 1);
        for (const RowPick pick : order) EXPECT_EQ(ids[PickOf(pick) - kFirst], RowOf(pick));

        OrderByRow(blocks, order);

        EXPECT_EQ(order, Expected(ids, kFirst, RowOf));
      }
    }
  }
}

TEST(PickOrderTest, PartsBeginWhereBlocksDescend) {
  const auto parts_of = [](int block_bits, const std::vector<int64_t>& rows) {
    std::vector<RowPick> order;
    for (size_t i = 0; i < rows.size(); ++i) order.push_back(rows[i] << 32 | int64_t(i));
    std::vector<int64_t> ends;
    for (const OrderedPart& part : PartsOf({.num_rows = 10, .block_bits = block_bits}, order)) {
      ends.push_back(part.begin);
      ends.push_back(part.end);
    }
    return ends;
  };
  using Ends = std::vector<int64_t>;
  EXPECT_EQ(parts_of(0, {}), Ends());
  EXPECT_EQ(parts_of(0, {7}), (Ends{0, 1}));
  EXPECT_EQ(parts_of(0, {1, 1, 4, 0, 9, 9, 3}), (Ends{0, 3, 3, 6, 6, 7}));
  EXPECT_EQ(parts_of(2, {1, 0, 4, 3, 9, 8, 3}), (Ends{0, 3, 3, 6, 6, 7}));
  EXPECT_EQ(parts_of(0, {1, 2, 2, 3}), (Ends{0, 4}));
}

TEST(DivisorTest, IsExact) {
  std::mt19937 random(5);
  for (int i = 0; i < 200; ++i) {
    const uint32_t divisor = i < 20 ? i + 1 : i == 20 ? UINT32_MAX : random() >> (random() % 32);
    const Divisor by(std::max(divisor, 1u));
    const uint32_t d = std::max(divisor, 1u);
    for (int j = 0; j < 200; ++j) {
      const uint32_t multiple = random() / d * d;
      for (const uint32_t n :
           {0u, 1u, UINT32_MAX, static_cast<uint32_t>(random()), multiple, multiple - 1}) {
        ASSERT_EQ(by.Quotient(n), n / d) << n << " / " << d;
        ASSERT_EQ(by.Remainder(n), n % d) << n << " / " << d;
      }
    }
  }
}

}  // namespace
}  // namespace peerage::kernels
