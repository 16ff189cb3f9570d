#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "client/bench/line_chart.h"
#include "client/bench/load_chart.h"

namespace peerage::client {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ChartScale ScaleOf(std::vector<double> values) {
  return ScaleFor({{.name = "", .colour = {}, .values = std::move(values)}});
}

TEST(ChartScaleTest, BeginsAtZeroAndEndsAtARoundNumber) {
  const ChartScale scale = ScaleOf({30, 87});
  EXPECT_FALSE(scale.logarithmic);
  EXPECT_THAT(scale.marks, ElementsAre(0, 50, 100));
  EXPECT_EQ(scale.PositionOf(0), 0);
  EXPECT_EQ(scale.PositionOf(50), 0.5);
  EXPECT_EQ(scale.PositionOf(100), 1);
  EXPECT_THAT(ScaleOf({0.3, 0.7}).marks,
              ElementsAre(0, DoubleEq(0.2), DoubleEq(0.4), DoubleEq(0.6), DoubleEq(0.8)));
  EXPECT_THAT(ScaleOf({400}).marks, ElementsAre(0, 100, 200, 300, 400));
  EXPECT_THAT(ScaleOf({0, 0}).marks, ElementsAre(0, 1));
}

TEST(ChartScaleTest, IsLogarithmicWhereSmallOnesWouldVanish) {
  const ChartScale scale = ScaleOf({2, NAN, 900});
  EXPECT_TRUE(scale.logarithmic);
  EXPECT_THAT(scale.marks, ElementsAre(1, 10, 100, 1000));
  EXPECT_DOUBLE_EQ(scale.PositionOf(10), 1.0 / 3);
  EXPECT_FALSE(ScaleOf({0, 2, 900}).logarithmic);  // nothing has a logarithm
  EXPECT_THAT(ScaleOf({0.1, 10}).marks, ElementsAre(DoubleEq(0.1), 1, 10));
}

constexpr Colour kRed = {200, 0, 0};

// Rows, from the top, of all that has the colour in a column of the picture.
std::vector<int> RowsOf(const Image& image, int x, Colour colour) {
  std::vector<int> rows;
  for (int y = 0; y < image.height(); ++y) {
    if (image.at(x, y) == colour) rows.push_back(y);
  }
  return rows;
}

TEST(LineChartTest, DrawsDotsAndTheLinesBetweenThem) {
  const LineChart chart{
      .title = "t",
      .subtitle = "s",
      .axis = "load",
      .points = {"1", "2"},
      .panels = {{.title = "p", .lines = {{.name = "", .colour = kRed, .values = {0, 100}}}}}};
  const Image image = DrawLineChart(chart);
  std::vector<int> columns;
  for (int x = 0; x < image.width(); ++x) {
    if (!RowsOf(image, x, kRed).empty()) columns.push_back(x);
  }
  // Two points share the width of the plot, a quarter of it from its ends.
  ASSERT_FALSE(columns.empty());
  EXPECT_NEAR(columns.back() - columns.front(), 360 + 8, 3);
  EXPECT_EQ(static_cast<int>(columns.size()), columns.back() - columns.front() + 1);
  // It rises over the whole height, in the middle by a half.
  const auto middle_of = [&](int x) {
    const std::vector<int> rows = RowsOf(image, x, kRed);
    return (rows.front() + rows.back()) / 2;
  };
  const int first = middle_of(columns.front() + 4);
  const int last = middle_of(columns.back() - 4);
  EXPECT_NEAR(first - last, 170, 3);
  EXPECT_NEAR(middle_of((columns.front() + columns.back()) / 2), (first + last) / 2, 3);
}

TEST(LineChartTest, LeavesOutWhatIsNoNumber) {
  const auto chart = [](double value) {
    return LineChart{
        .title = "t",
        .subtitle = "s",
        .axis = "load",
        .points = {"1"},
        .panels = {{.title = "p", .lines = {{.name = "", .colour = kRed, .values = {value}}}}}};
  };
  const auto has_red = [](const Image& image) {
    for (int x = 0; x < image.width(); ++x) {
      if (!RowsOf(image, x, kRed).empty()) return true;
    }
    return false;
  };
  EXPECT_TRUE(has_red(DrawLineChart(chart(5))));
  EXPECT_FALSE(has_red(DrawLineChart(chart(NAN))));
}

LoadPoint Point(double rate, std::optional<uint32_t> users, size_t completed, size_t failed) {
  RunFigures figures{.completed = completed, .failed = failed, .duration = 2};
  figures.output_tokens = 10 * completed;
  figures.good = completed / 2;
  for (const LatencyName& name : LatencyNames()) {
    figures.latencies[name.latency] = {.percentiles = {{50, 1}, {99, 4}}};
  }
  RunDescription run{.model = "m", .num_prompts = 10};
  run.traffic = {.request_rate = rate, .max_concurrency = users};
  return {run, figures};
}

TEST(LoadChartTest, ShowsPercentilesAndWhatIsServed) {
  std::vector<LoadPoint> points = {Point(2, 8, 10, 0), Point(4, 8, 0, 10)};
  const LineChart chart = ChartOf(points);
  EXPECT_THAT(chart.points, ElementsAre("2", "4"));
  EXPECT_EQ(chart.axis, "requests a second that come");
  ASSERT_EQ(chart.panels.size(), 4);
  EXPECT_EQ(chart.panels[0].title, "Time to First Token, ms");
  ASSERT_EQ(chart.panels[0].lines.size(), 2);
  EXPECT_EQ(chart.panels[0].lines[1].name, "P99");
  EXPECT_EQ(chart.panels[0].lines[1].values[0], 4);
  EXPECT_TRUE(std::isnan(chart.panels[0].lines[1].values[1]));  // nothing was served
  EXPECT_THAT(chart.panels[2].lines[0].values, ElementsAre(50, 0));
  ASSERT_EQ(chart.panels[3].lines.size(), 2);
  EXPECT_THAT(chart.panels[3].lines[0].values, ElementsAre(5, 0));
  EXPECT_THAT(chart.panels[3].lines[1].values, ElementsAre(0, 5));

  points[0].run.goodput.ttft_ms = 5;
  EXPECT_EQ(ChartOf(points).panels[3].lines[1].name, "within the bounds");
}

TEST(LoadChartTest, IsByUsersWhereTheyDiffer) {
  const std::vector<LoadPoint> points = {Point(INFINITY, 1, 1, 0), Point(INFINITY, 64, 1, 0)};
  EXPECT_THAT(ChartOf(points).points, ElementsAre("1", "64"));
  EXPECT_EQ(ChartOf(points).axis, "requests at once");
  EXPECT_THAT(ChartOf({Point(4, 1, 1, 0), Point(4, 9, 1, 0)}).points, ElementsAre("1", "9"));
  EXPECT_THAT(ChartOf({Point(INFINITY, {}, 1, 0)}).points, ElementsAre("all at once"));
}

TEST(LoadChartTest, OfScoresShowsTheWholeTime) {
  std::vector<LoadPoint> points = {Point(2, {}, 1, 0)};
  points[0].run.score = true;
  const LineChart chart = ChartOf(points);
  ASSERT_EQ(chart.panels.size(), 3);
  EXPECT_EQ(chart.panels[0].title, "End-to-end Latency, ms");
  EXPECT_EQ(chart.panels[1].title, "Scored tokens a second");
}

TEST(LoadTableTest, HasARowForEachLoad) {
  EXPECT_EQ(
      LoadTable({Point(2, {}, 10, 0), Point(4, {}, 8, 2)}),
      "req/s asked  req/s  tok/s  failed  P50 TTFT ms  P99 TTFT ms  P50 TPOT ms  P99 TPOT ms\n"
      "          2   5.00   50.0       0         1.00         4.00         1.00         4.00\n"
      "          4   4.00   40.0       2         1.00         4.00         1.00         4.00\n");
}

}  // namespace
}  // namespace peerage::client
