#include "train/kernels/table_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "model/kernels/float16.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr int kRows = 23;

// A table of each type with the same values, which bf16 can hold, another one, and rows of both.
struct TwoTables {
  TwoTables(int width, int count) : width(width), count(count), weights(count) {
    std::mt19937 random(width * 100 + count);
    std::normal_distribution<float> normal;
    for (int i = 0; i < kRows * width; ++i) {
      bf16.push_back(BF16FromF32(normal(random)));
      f32.push_back(F32FromBF16(bf16.back()));
      f64.push_back(f32.back());
      others.push_back(normal(random));
    }
    for (int i = 0; i < count; ++i) {
      // Some rows twice, one behind the other.
      ids.push_back(i % 4 == 3 ? ids.back() : static_cast<int64_t>(random() % kRows));
      other_ids.push_back(i % 5 == 4 ? other_ids.back() : static_cast<int64_t>(random() % kRows));
    }
    for (auto& weight : weights) weight = normal(random);
  }

  template <typename T>
  std::vector<T*> RowsOf(std::vector<T>& table, const std::vector<int64_t>& of) const {
    std::vector<T*> rows;
    for (const int64_t id : of) rows.push_back(table.data() + id * width);
    return rows;
  }

  int width, count;
  std::vector<uint16_t> bf16;
  std::vector<float> f32, others;
  std::vector<double> f64;
  std::vector<int64_t> ids, other_ids;
  std::vector<float> weights;
};

// What the functions make of the rows.
template <typename V>
struct RowSums {
  std::vector<V> dots, added, sum;
};

template <typename T, typename V = Sum<T>>
RowSums<V> SumsOf(TwoTables c, std::vector<T>& table, bool fetch_ahead = false) {
  std::vector<V> others(c.others.begin(), c.others.end());
  const std::vector<V> weights(c.weights.begin(), c.weights.end());
  const std::vector<T*> rows = c.RowsOf(table, c.ids);
  const std::vector<V*> other_rows = c.RowsOf(others, c.other_ids);
  const RowList<T> list{rows.data(), c.count, c.width, c.count, fetch_ahead};
  RowSums<V> found{std::vector<V>(c.count, -7), {}, std::vector<V>(c.width, -7)};
  RowDots(list, other_rows.data(), found.dots.data());
  SumRows(list, weights.data(), found.sum.data());
  AddToRows(list, weights.data(), other_rows.data());
  found.added = others;
  return found;
}

// A sum of n products of standard normal numbers errs by about sqrt(n) roundings of its size.
void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected, int terms) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], 1e-6 * (1 + terms)) << i;
  }
}

void ExpectEqual(const RowSums<float>& a, const RowSums<float>& b) {
  EXPECT_EQ(a.dots, b.dots);
  EXPECT_EQ(a.added, b.added);
  EXPECT_EQ(a.sum, b.sum);
}

TEST(TableRowsTest, DotsAndSumsAreThoseInDouble) {
  ForEachTarget([&] {
    for (const int width : {1, 3, 15, 16, 17, 33, 128, 257}) {
      for (const int count : {0, 1, 4, 7, 8, 9, 31}) {
        SCOPED_TRACE(testing::Message() << "width " << width << " count " << count);
        TwoTables c(width, count);
        const RowSums<double> expected = SumsOf(c, c.f64);
        const RowSums<float> found = SumsOf(c, c.f32);
        ExpectNear(found.dots, expected.dots, width);
        ExpectNear(found.added, expected.added, count);
        ExpectNear(found.sum, expected.sum, count);
        ExpectEqual(SumsOf(c, c.bf16), found);
        ExpectEqual(SumsOf(c, c.f32, /*fetch_ahead=*/true), found);
        ExpectEqual(SumsOf(c, c.bf16, /*fetch_ahead=*/true), found);
      }
    }
  });
}

TEST(TableRowsTest, ADotDoesNotDependOnWhichOthersAreGiven) {
  ForEachTarget([&] {
    TwoTables c(50, 13);
    const std::vector<float> together = SumsOf(c, c.f32).dots;
    const std::vector<float*> rows = c.RowsOf(c.f32, c.ids),
                              others = c.RowsOf(c.others, c.other_ids);
    for (int i = 0; i < c.count; ++i) {
      float dot = 0;
      RowDots(RowList<float>{rows.data() + i, 1, c.width}, others.data() + i, &dot);
      EXPECT_EQ(dot, together[i]);
    }
  });
}

TEST(TableRowsTest, TheSpecificationItself) {
  const std::vector<double> table = {1, 2, 3, 4, 5, 6}, weights = {1, 2, 0.5}, x = {10, 1};
  const std::vector<const double*> rows = {&table[4], &table[0], &table[4]};
  const RowList<double> list{rows.data(), 3, 2};
  const std::vector<const double*> others(3, x.data());
  std::vector<double> dots(3), y = {100, 200}, sum(2, 7.0);
  const std::vector<double*> sums(3, y.data());

  RowDots(list, others.data(), dots.data());
  AddToRows(list, weights.data(), sums.data());
  SumRows(list, weights.data(), sum.data());

  EXPECT_EQ(dots, (std::vector<double>{56, 12, 56}));
  EXPECT_EQ(y, (std::vector<double>{100 + 5 + 2 + 2.5, 200 + 6 + 4 + 3}));
  EXPECT_EQ(sum, (std::vector<double>{5 + 2 + 2.5, 6 + 4 + 3}));
}

TEST(TableRowsTest, RowsOfBF16RoundToNearestEven) {
  const std::vector<float> values = {1.0f, 1.00390625f, 1.01171875f, -3.3f, 0.0f};
  std::vector<uint16_t> row(5);
  std::vector<float> back(5);

  StoreRow(values.data(), 5, row.data());
  LoadRow(row.data(), 5, back.data());

  EXPECT_EQ(back, (std::vector<float>{1.0f, 1.0f, 1.015625f, -3.296875f, 0.0f}));
}

}  // namespace
}  // namespace peerage::kernels
