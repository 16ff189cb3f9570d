#include "train/kernels/table_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "model/kernels/float16.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr int kRows = 23;
constexpr int kBlockBits = 3;
constexpr int64_t kFirstToken = 2;

// A table of each type with the same values, which bf16 can hold, and tokens that pick rows of it.
struct PickedRows {
  PickedRows(int width, int tokens, int picks_of_a_token)
      : width(width), picks_of_a_token(picks_of_a_token), order(tokens * picks_of_a_token) {
    std::mt19937 random(width * 100 + tokens);
    std::normal_distribution<float> normal;
    for (int i = 0; i < kRows * width; ++i) {
      bf16.push_back(BF16FromF32(normal(random)));
      f32.push_back(F32FromBF16(bf16.back()));
      f64.push_back(f32.back());
    }
    for (int i = 0; i < tokens * width; ++i) batch.push_back(normal(random));
    std::vector<int64_t> ids;
    for (size_t i = 0; i < order.size(); ++i) {
      // Some rows twice, one behind the other.
      ids.push_back(i % 4 == 3 ? ids.back() : static_cast<int64_t>(random() % kRows));
    }
    OrderByBlock(ids, {kRows, kBlockBits}, kFirstToken * picks_of_a_token, order);
    weights.resize((kFirstToken + tokens) * picks_of_a_token);
    for (auto& weight : weights) weight = normal(random);
  }

  template <typename T>
  PickedTable<T> Of(const std::vector<T>& table, bool far = false) const {
    const Divisor by(static_cast<uint32_t>(picks_of_a_token));
    return {table.data(), {order, by, width}, kFirstToken, far};
  }

  int width, picks_of_a_token;
  std::vector<uint16_t> bf16;
  std::vector<float> f32, batch;
  std::vector<double> f64;
  std::vector<RowPick> order;
  std::vector<float> weights;
};

// What the functions make of the rows.
template <typename V>
struct RowSums {
  std::vector<V> dots, added;
};

template <typename T, typename V = Sum<T>>
RowSums<V> SumsOf(const PickedRows& c, const std::vector<T>& table, bool far = false) {
  const std::vector<V> batch(c.batch.begin(), c.batch.end());
  const std::vector<V> weights(c.weights.begin(), c.weights.end());
  RowSums<V> found{std::vector<V>(c.weights.size(), -7), batch};
  PickDots(c.Of(table, far), batch.data(), found.dots.data());
  AddPicks(c.Of(table, far), weights.data(), found.added.data());
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
}

TEST(TableRowsTest, DotsAndSumsAreThoseInDouble) {
  ForEachTarget([&] {
    for (const int width : {1, 3, 15, 16, 17, 33, 128, 257}) {
      for (const auto& [tokens, picks_of_a_token] :
           {std::pair{0, 1}, {1, 1}, {4, 1}, {3, 9}, {7, 5}}) {
        SCOPED_TRACE(testing::Message() << "width " << width << ", " << tokens << " tokens");
        const PickedRows c(width, tokens, picks_of_a_token);
        const RowSums<double> expected = SumsOf(c, c.f64);
        const RowSums<float> found = SumsOf(c, c.f32);
        ExpectNear(found.dots, expected.dots, width);
        ExpectNear(found.added, expected.added, picks_of_a_token);
        ExpectEqual(SumsOf(c, c.bf16), found);
        ExpectEqual(SumsOf(c, c.f32, /*far=*/true), found);
        ExpectEqual(SumsOf(c, c.bf16, /*far=*/true), found);
      }
    }
  });
}

TEST(TableRowsTest, GradientsOfRowsAreThoseInDouble) {
  ForEachTarget([&] {
    for (const int width : {1, 3, 17, 128, 257}) {
      // A batch whose rows bf16 can hold: the roles of table and batch are exchanged.
      const PickedRows c(width, kRows - kFirstToken, 3);
      const std::vector<double> weights(c.weights.begin(), c.weights.end());
      const BatchPicks picks{c.order, Divisor(3), width};
      std::vector<double> expected(width, 1.0);
      std::vector<float> found(width, 1.0f), of_bf16(width, 1.0f);

      SumPicks(picks, c.f64.data(), weights.data(), expected.data());
      SumPicks(picks, c.f32.data(), c.weights.data(), found.data());
      SumPicks(picks, c.bf16.data(), c.weights.data(), of_bf16.data());

      ExpectNear(found, expected, static_cast<int>(c.order.size()));
      EXPECT_EQ(of_bf16, found);
    }
  });
}

TEST(TableRowsTest, WhatAPickGivesDoesNotDependOnWhichOthersAreGiven) {
  ForEachTarget([&] {
    const PickedRows c(50, 3, 5);
    const RowSums<float> together = SumsOf(c, c.f32);
    RowSums<float> alone{std::vector<float>(c.weights.size(), -7), c.batch};
    for (size_t i = 0; i < c.order.size(); ++i) {
      PickedTable<float> one = c.Of(c.f32);
      one.batch.picks = one.batch.picks.subspan(i, 1);
      PickDots(one, c.batch.data(), alone.dots.data());
      AddPicks(one, c.weights.data(), alone.added.data());
    }
    ExpectEqual(alone, together);
  });
}

TEST(TableRowsTest, TheSpecificationItself) {
  const std::vector<double> table = {1, 2, 3, 4, 5, 6}, x = {10, 1, 20, 2};
  const std::vector<double> weights = {1, 2, 0.5, 4};
  // Token 0 picked rows 2 and 0, token 1 rows 2 and 1.
  const std::vector<RowPick> order = {int64_t{0} << 32 | 1, int64_t{1} << 32 | 3,
                                      int64_t{2} << 32 | 0, int64_t{2} << 32 | 2};
  const BatchPicks batch{order, Divisor(2), 2};
  const PickedTable<double> picked{table.data(), batch};
  std::vector<double> dots(4), y = {100, 200, 300, 400}, sum(2, 7.0);

  PickDots(picked, x.data(), dots.data());
  AddPicks(picked, weights.data(), y.data());
  const BatchPicks of_row_2{batch.picks.last(2), Divisor(2), 2};
  SumPicks(of_row_2, x.data(), weights.data(), sum.data());

  EXPECT_EQ(dots, (std::vector<double>{56, 12, 112, 68}));
  EXPECT_EQ(y, (std::vector<double>{100 + 5 + 2, 200 + 6 + 4, 300 + 2.5 + 12, 400 + 3 + 16}));
  EXPECT_EQ(sum, (std::vector<double>{7 + 10 + 10, 7 + 1 + 1}));
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
