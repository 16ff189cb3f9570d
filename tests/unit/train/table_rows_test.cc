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

// A table of each type with the same values, which bf16 can hold, and picks of it.
struct Case {
  Case(int width, int count) : width(width), ids(count), weights(count), x(width) {
    std::mt19937 random(width * 100 + count);
    std::normal_distribution<float> normal;
    for (int i = 0; i < kRows * width; ++i) {
      bf16.push_back(BF16FromF32(normal(random)));
      f32.push_back(F32FromBF16(bf16.back()));
      f64.push_back(f32.back());
    }
    for (auto& id : ids) id = static_cast<int64_t>(random() % kRows);
    for (auto& weight : weights) weight = normal(random);
    for (auto& value : x) value = normal(random);
  }

  template <typename T>
  PickedRows<T> Picked(const std::vector<T>& table, bool fetch_ahead = false) const {
    return {table.data(), width, ids.data(), static_cast<int64_t>(ids.size()), fetch_ahead};
  }

  int width;
  std::vector<uint16_t> bf16;
  std::vector<float> f32;
  std::vector<double> f64;
  std::vector<int64_t> ids;
  std::vector<float> weights, x;
};

std::vector<double> Doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// A sum of n products of standard normal numbers errs by about sqrt(n) roundings of its size.
void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected, int terms) {
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], 1e-6 * (1 + terms)) << i;
  }
}

template <typename T>
std::vector<float> Dots(const PickedRows<T>& rows, const std::vector<float>& x) {
  std::vector<float> dots(rows.count, -7.0f);
  RowDots(rows, x.data(), dots.data());
  return dots;
}

template <typename T>
std::vector<float> Sums(const PickedRows<T>& rows, const std::vector<float>& weights) {
  std::vector<float> y(rows.width, 0.5f);
  AddRows(rows, weights.data(), y.data());
  return y;
}

TEST(TableRowsTest, DotsAndSumsAreThoseInDouble) {
  ForEachTarget([&] {
    for (const int width : {1, 3, 15, 16, 17, 33, 128, 257}) {
      for (const int count : {0, 1, 4, 7, 8, 9, 31}) {
        SCOPED_TRACE(testing::Message() << "width " << width << " count " << count);
        const Case c(width, count);
        std::vector<double> dots(count), y(width, 0.5);
        RowDots(c.Picked(c.f64), Doubles(c.x).data(), dots.data());
        AddRows(c.Picked(c.f64), Doubles(c.weights).data(), y.data());
        ExpectNear(Dots(c.Picked(c.f32), c.x), dots, width);
        ExpectNear(Sums(c.Picked(c.f32), c.weights), y, count);
        EXPECT_EQ(Dots(c.Picked(c.f32), c.x), Dots(c.Picked(c.bf16), c.x));
        EXPECT_EQ(Sums(c.Picked(c.f32), c.weights), Sums(c.Picked(c.bf16), c.weights));
        EXPECT_EQ(Dots(c.Picked(c.f32), c.x), Dots(c.Picked(c.f32, true), c.x));
        EXPECT_EQ(Sums(c.Picked(c.f32), c.weights), Sums(c.Picked(c.f32, true), c.weights));
      }
    }
  });
}

TEST(TableRowsTest, TheSpecificationItself) {
  const std::vector<double> table = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> ids = {2, 0, 2};
  const PickedRows<double> rows{table.data(), 2, ids.data(), 3};
  const std::vector<double> x = {10, 1}, weights = {1, 2, 0.5};
  std::vector<double> dots(3), y = {100, 200};

  RowDots(rows, x.data(), dots.data());
  AddRows(rows, weights.data(), y.data());

  EXPECT_EQ(dots, (std::vector<double>{56, 12, 56}));
  EXPECT_EQ(y, (std::vector<double>{100 + 5 + 2 + 2.5, 200 + 6 + 4 + 3}));
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
