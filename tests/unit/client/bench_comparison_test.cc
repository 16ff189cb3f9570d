#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "client/bench/comparison.h"
#include "client/bench/resampling.h"
#include "tests/support/temporary_directory.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A run of 1,000 calls whose times are exponential about a mean, and 20 seconds of tokens.
struct RunOf {
  int seed = 0;
  double latency = 1;
  double tokens = 1000;
};

Json Result(const RunOf& run) {
  std::mt19937_64 random(run.seed);
  std::exponential_distribution<double> time(1 / run.latency);
  std::normal_distribution<double> noise(1, 0.05);
  Json json = {{"mode", "generate"},     {"model_id", "m"},           {"seed", 1},
               {"request_rate", "inf"},  {"burstiness", 1.0},         {"max_concurrency", 8},
               {"ttfts", Json::array()}, {"latencies", Json::array()}};
  double sum = 0;
  for (int i = 0; i < 1000; ++i) {
    const double first = time(random) / 10;
    json["ttfts"].push_back(first);
    json["latencies"].push_back(first + time(random));
    json["output_lens"].push_back(11);
    json["errors"].push_back("");
  }
  for (int i = 0; i < 21; ++i) {
    const double tokens =
        i < 20 ? run.tokens * noise(random) : 1;  // the last one was no whole second
    json["output_tokens_by_second"].push_back(tokens);
    sum += tokens;
  }
  json["output_throughput"] = sum / 20;
  return json;
}

Comparison Compared(const std::vector<Json>& before, const std::vector<Json>& after) {
  const auto comparison = Compare(before, after);
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return comparison.ok() ? *comparison : Comparison();
}

Verdict VerdictOf(const Comparison& comparison, const std::string& name) {
  for (const ComparedFigure& figure : comparison.figures) {
    if (figure.name == name) return figure.verdict;
  }
  ADD_FAILURE() << "no " << name;
  return Verdict::kTooLittle;
}

TEST(ComparisonTest, SeesADifferenceThatIsThere) {
  const Comparison comparison =
      Compared({Result({.seed = 1})}, {Result({.seed = 2, .latency = 1.3, .tokens = 800})});
  EXPECT_EQ(VerdictOf(comparison, "TTFT P50 ms"), Verdict::kWorse);
  EXPECT_EQ(VerdictOf(comparison, "TPOT P50 ms"), Verdict::kWorse);
  EXPECT_EQ(VerdictOf(comparison, "E2EL P50 ms"), Verdict::kWorse);
  EXPECT_EQ(VerdictOf(comparison, "output tok/s"), Verdict::kWorse);
  const Comparison reverse =
      Compared({Result({.seed = 2, .latency = 1.3, .tokens = 800})}, {Result({.seed = 1})});
  EXPECT_EQ(VerdictOf(reverse, "E2EL P90 ms"), Verdict::kBetter);
  EXPECT_EQ(VerdictOf(reverse, "output tok/s"), Verdict::kBetter);
}

// Ten figures of each pair, judged with 99 %: a false alarm is rare.
TEST(ComparisonTest, SeesNoneInNoise) {
  int alarms = 0;
  for (int seed = 0; seed < 10; ++seed) {
    for (const ComparedFigure& figure :
         Compared({Result({.seed = 100 + seed})}, {Result({.seed = 200 + seed})}).figures) {
      EXPECT_NE(figure.verdict, Verdict::kTooLittle) << figure.name;
      alarms += figure.verdict == Verdict::kNoDifference ? 0 : 1;
    }
  }
  EXPECT_LE(alarms, 5) << "of 100";
}

// Two runs of each side that differ by more than the sides do.
TEST(ComparisonTest, KnowsHowRunsDiffer) {
  const std::vector<Json> before = {Result({.seed = 1, .latency = 1}),
                                    Result({.seed = 2, .latency = 2})};
  const std::vector<Json> after = {Result({.seed = 3, .latency = 1.4}),
                                   Result({.seed = 4, .latency = 2.8})};
  const Comparison several = Compared(before, after);
  EXPECT_FALSE(several.one_run_each);
  EXPECT_EQ(VerdictOf(several, "E2EL P50 ms"), Verdict::kNoDifference);
  const Comparison single = Compared({before[0]}, {after[0]});
  EXPECT_TRUE(single.one_run_each);
  EXPECT_EQ(VerdictOf(single, "E2EL P50 ms"), Verdict::kWorse);
}

TEST(ComparisonTest, LeavesOutWhatFailed) {
  Json with_failures = Result({.seed = 1});
  for (int i = 0; i < 300; ++i) {
    with_failures["ttfts"].push_back(i % 2 == 0 ? Json(nullptr) : Json(99));
    with_failures["latencies"].push_back(i % 2 == 0 ? Json(nullptr) : Json(99));
    with_failures["output_lens"].push_back(11);
    with_failures["errors"].push_back("the queue is full");
  }
  for (const ComparedFigure& figure : Compared({Result({.seed = 1})}, {with_failures}).figures) {
    EXPECT_EQ(figure.before, figure.after) << figure.name;
  }
}

TEST(ComparisonTest, SaysNothingOfTooFew) {
  Json few = Result({.seed = 1});
  for (const char* key : {"ttfts", "latencies", "output_lens", "errors"}) {
    few[key].erase(few[key].begin() + 60, few[key].end());
  }
  few["output_tokens_by_second"] = {10, 10, 10};
  const Comparison comparison = Compared({few}, {few});
  EXPECT_EQ(VerdictOf(comparison, "E2EL P99 ms"), Verdict::kTooLittle);
  EXPECT_EQ(VerdictOf(comparison, "E2EL P90 ms"), Verdict::kNoDifference);
  EXPECT_EQ(VerdictOf(comparison, "output tok/s"), Verdict::kTooLittle);
}

TEST(ComparisonTest, PutsLoadsBesideEachOther) {
  Json slow = Result({.seed = 1});
  slow["request_rate"] = 2.5;
  slow["max_concurrency"] = nullptr;
  Json bursts = slow;
  bursts["burstiness"] = 0.5;
  Json other = slow;
  other["seed"] = 7;
  const Comparison comparison = Compared({Result({.seed = 2}), slow, bursts}, {other, Result({})});
  ASSERT_EQ(comparison.figures.size(), 20);
  EXPECT_EQ(comparison.figures[0].load, "8 at once");
  EXPECT_EQ(comparison.figures[10].load, "2.5/s, no limit");
  EXPECT_THAT(comparison.differences, ElementsAre("seed 1 and 7"));
  EXPECT_THAT(Compare({slow}, {bursts}).status().message(), HasSubstr("no load in common"));
}

TEST(ComparisonTest, OfScoresHasTheWholeTimeAlone) {
  Json score = Result({.seed = 1});
  score["mode"] = "score";
  std::vector<std::string> names;
  for (const ComparedFigure& figure : Compared({score}, {score}).figures) {
    names.push_back(figure.name);
    EXPECT_EQ(figure.load, "scores, 8 at once");
  }
  EXPECT_THAT(names, ElementsAre("scored tok/s", "E2EL P50 ms", "E2EL P90 ms", "E2EL P99 ms"));
}

TEST(ComparisonTest, IsATableAndJson) {
  Comparison comparison{.figures = {{.load = "8 at once",
                                     .name = "TTFT P50 ms",
                                     .before = 10,
                                     .after = 5,
                                     .interval = {{0.45, 0.55}},
                                     .verdict = Verdict::kBetter},
                                    {.load = "8 at once", .name = "TTFT P99 ms"}},
                        .differences = {"seed 1 and 2"},
                        .one_run_each = true};
  EXPECT_EQ(ComparisonText(comparison, "a", "b"),
            "load       figure          a     b  ratio  99 % interval  verdict\n"
            "8 at once  TTFT P50 ms  10.0  5.00   0.50  0.45 to 0.55   better\n"
            "8 at once  TTFT P99 ms  0.00  0.00      -  -              too little to tell\n"
            "b beside a: 1 better, 1 too little to tell\n"
            "Of one run each, the intervals know how requests differ, not how runs do: "
            "--append-result adds runs.\n"
            "Not the same: seed 1 and 2\n");
  const Json json = ComparisonJson(comparison);
  EXPECT_EQ(json["figures"][0]["ratio"], 0.5);
  EXPECT_EQ(json["figures"][0]["verdict"], "better");
  EXPECT_EQ(json["figures"][1]["interval"], nullptr);
}

TEST(ReadResultsTest, NamesWhatIsNone) {
  const TemporaryDirectory folder;
  const std::string good = Result({.seed = 1}).dump();
  EXPECT_EQ(ReadResults(folder.Write("good", absl::StrCat(good, "\n\n", good)))->size(), 2);
  EXPECT_THAT(ReadResults(folder.Write("bad", absl::StrCat(good, "\n{"))).status().message(),
              HasSubstr("bad) line 2"));
  EXPECT_THAT(ReadResults(folder.Write("other", "{\"a\": 1}")).status().message(),
              HasSubstr("is no result with each request"));
  EXPECT_THAT(ReadResults("/nowhere").status().message(), HasSubstr("--compare (/nowhere)"));
}

// Against the plain way: draw all values, sort, take the percentile.
TEST(RatioIntervalTest, IsThatOfDrawingEveryValue) {
  std::mt19937_64 random(3);
  std::exponential_distribution<double> time;
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back(time(random));
  std::sort(values.begin(), values.end());
  const SampledFigure fixed{.runs = {{.figure = 1, .values = std::vector<double>(400, 1)}},
                            .percent = 90};
  const SampledFigure figure{.runs = {{.figure = 1, .values = values}}, .percent = 90};
  std::vector<double> plain;
  for (int i = 0; i < 4000; ++i) {
    std::vector<double> drawn;
    for (int j = 0; j < 400; ++j) drawn.push_back(values[random() % 400]);
    std::nth_element(drawn.begin(), drawn.begin() + 359, drawn.end());
    plain.push_back(drawn[359]);
  }
  std::sort(plain.begin(), plain.end());
  const auto [low, high] = RatioInterval(fixed, figure, /*seed=*/5);
  EXPECT_NEAR(low, plain[20], 0.08);
  EXPECT_NEAR(high, plain[3979], 0.12);
}

}  // namespace
}  // namespace peerage::client
