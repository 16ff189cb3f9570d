#include "server/log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <streambuf>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::MatchesRegex;

class LogTest : public ::testing::Test {
 protected:
  Log& Start(const LogOptions& options) {
    log_ = std::make_unique<Log>(options, &clock_, &out_);
    return *log_;
  }

  // What was written; the log ends.
  std::vector<std::string> Lines() {
    log_.reset();
    return absl::StrSplit(out_.str(), '\n', absl::SkipEmpty());
  }

  FakeClock clock_;
  std::ostringstream out_;
  std::unique_ptr<Log> log_;
};

TEST_F(LogTest, WritesTheTimeInFrontAsTextAndAsJson) {
  Start({}).Write(LogLevel::kInfo, "{} is no format", {{"key", std::string("a")}});
  EXPECT_THAT(Lines(), ElementsAre(MatchesRegex(
                           "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}[+-][0-9]{2}:?[0-9]{2} "
                           "info \\{\\} is no format key=a")));
  out_.str("");
  Start({.format = LogFormat::kJson}).Write(LogLevel::kError, "100 %v", {{"key", int64_t{3}}});
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 1);
  const nlohmann::json parsed = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(parsed["level"], "error");
  EXPECT_EQ(parsed["message"], "100 %v");
  EXPECT_EQ(parsed["key"], 3);
  EXPECT_EQ(std::string(parsed["time"]).size(),
            std::string("2026-01-01T00:00:00.000+00:00").size());
}

TEST_F(LogTest, ShowsWhatItsLevelSays) {
  Log& log = Start({.level = LogLevel::kWarn});
  log.Write(LogLevel::kInfo, "one");
  log.Write(LogLevel::kWarn, "two");
  log.SetLevel(LogLevel::kDebug);
  EXPECT_EQ(log.level(), LogLevel::kDebug);
  log.Write(LogLevel::kDebug, "three");
  log.SetLevel(LogLevel::kOff);
  log.Write(LogLevel::kError, "four");
  EXPECT_THAT(Lines(), ElementsAre(EndsWith("warn two"), EndsWith("info log level: debug"),
                                   EndsWith("debug three"), EndsWith("info log level: off")));
}

TEST_F(LogTest, TellsHowManyLinesOfAKindItLeftOut) {
  Log& log = Start({.lines_per_second = 2});
  for (int i = 0; i < 5; ++i) log.WriteLimited("a", LogLevel::kInfo, absl::StrCat("a", i), {});
  log.WriteLimited("b", LogLevel::kInfo, "b0", {});
  log.TellLeftOut();  // the second is not over
  clock_.Advance(absl::Seconds(1));
  log.TellLeftOut();
  log.TellLeftOut();  // told already
  log.WriteLimited("a", LogLevel::kInfo, "a5", {});
  EXPECT_THAT(Lines(),
              ElementsAre(EndsWith("info a0"), EndsWith("info a1"), EndsWith("info b0"),
                          EndsWith("warn lines left out kind=a lines=3"), EndsWith("info a5")));
}

TEST_F(LogTest, TellsOfLinesLeftOutBeforeItEnds) {
  Log& log = Start({.level = LogLevel::kError, .lines_per_second = 1});
  for (int i = 0; i < 3; ++i) log.WriteLimited("a", LogLevel::kError, "a", {});
  for (int i = 0; i < 3; ++i) log.WriteLimited("a", LogLevel::kInfo, "not shown", {});
  EXPECT_THAT(Lines(), ElementsAre(EndsWith("error a"), EndsWith("lines left out kind=a lines=2")));
}

TEST_F(LogTest, KeepsTheLinesOfManyThreadsWhole) {
  Log& log = Start({});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&log, i] {
      for (int j = 0; j < 100; ++j) log.Write(LogLevel::kInfo, std::string(100, 'a' + i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = Lines();
  EXPECT_EQ(lines.size(), 400);
  for (const std::string& line : lines) EXPECT_THAT(line, MatchesRegex(".* info (a+|b+|c+|d+)"));
}

// A reader that stands still until it is let go.
class StuckReader : public std::streambuf {
 public:
  void Release() { released_.Notify(); }
  int64_t lines() const { return lines_; }

 protected:
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    released_.WaitForNotification();
    ++lines_;
    return count;
  }

 private:
  absl::Notification released_;
  int64_t lines_ = 0;
};

TEST(StuckLogTest, DoesNotHoldUpWhoWrites) {
  FakeClock clock;
  StuckReader reader;
  std::ostream out(&reader);
  constexpr int kLines = 10'000;
  {
    Log log({}, &clock, &out);
    for (int i = 0; i < kLines; ++i) log.Write(LogLevel::kInfo, "line");
    reader.Release();  // reached, though nothing was read so far
  }
  EXPECT_GE(reader.lines(), 100);
  EXPECT_LT(reader.lines(), kLines);
}

}  // namespace
}  // namespace peerage
