#include "server/rpc/text_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kSmallEnough = 10;
constexpr size_t kTooLarge = 11;
constexpr TextPoolOptions kOptions = {
    .threads = 1, .max_waiting = 2, .at_once_bytes = kSmallEnough};

// A pool whose one thread is busy. The destructor has it read what waits.
class BusyPool {
 public:
  BusyPool() {
    pool_.RunInTurn("busy", kTooLarge, [this] {
      began_.Notify();
      gate_.WaitForNotification();
    });
    began_.WaitForNotification();
  }
  ~BusyPool() { gate_.Notify(); }

  TextPool& pool() { return pool_; }

 private:
  absl::Notification began_, gate_;
  TextPool pool_{kOptions};  // ends before what its thread waits for
};

TEST(TextPoolTest, ReadsWhatIsSmallAtOnceOnTheCallersThread) {
  TextPool pool(kOptions);
  std::thread::id small;
  pool.Run("a", kSmallEnough, [&small](const absl::Status& turn) {
    EXPECT_TRUE(turn.ok());
    small = std::this_thread::get_id();
  });
  EXPECT_EQ(small, std::this_thread::get_id());

  std::thread::id large;
  absl::Notification done;
  pool.Run("a", kTooLarge, [&](const absl::Status& turn) {
    EXPECT_TRUE(turn.ok());
    large = std::this_thread::get_id();
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_NE(large, std::this_thread::get_id());
}

TEST(TextPoolTest, WhatIsSmallDoesNotWaitForWhatIsLarge) {
  BusyPool busy;
  TextPool& pool = busy.pool();
  bool read = false;
  pool.Run("a", kSmallEnough, [&read](const absl::Status& turn) { read = turn.ok(); });
  EXPECT_TRUE(read);
}

TEST(TextPoolTest, RefusesWhenTooManyWaitAndRunsTheRestInOrder) {
  std::vector<std::string> order;
  absl::Status refused;
  {
    BusyPool busy;
    TextPool& pool = busy.pool();
    const auto add = [&](const std::string& name) {
      return [&order, name](const absl::Status& turn) {
        EXPECT_TRUE(turn.ok());
        order.push_back(name);
      };
    };
    pool.Run("a", kTooLarge, add("first"));
    pool.Run("a", kTooLarge, add("second"));
    pool.Run("a", kTooLarge, [&refused](const absl::Status& turn) { refused = turn; });
    pool.RunInTurn("a", kTooLarge, [&order] { order.push_back("patient"); });
  }
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("2 texts wait"));
  EXPECT_THAT(order, ElementsAre("first", "second", "patient"));
}

using Texts = std::vector<std::pair<std::string, size_t>>;  // callers and bytes

// In which order one thread reads texts that wait: each is named by its caller and a number.
std::vector<std::string> OrderOf(const Texts& texts) {
  std::vector<std::string> order;
  {
    BusyPool busy;
    TextPool& pool = busy.pool();
    std::map<std::string, int> numbers;
    for (const auto& [caller, bytes] : texts) {
      const std::string name = absl::StrCat(caller, ++numbers[caller]);
      pool.RunInTurn(caller, bytes, [&order, name] { order.push_back(name); });
    }
  }
  return order;
}

TEST(TextPoolTest, CallersTakeTurnsByTheBytesOfTheirTexts) {
  const Texts flood(5, {"flood", 100});
  Texts texts = flood;
  texts.insert(texts.end(), {{"small", 20}, {"small", 20}, {"small", 20}});
  EXPECT_THAT(OrderOf(texts), ElementsAre("small1", "small2", "small3", "flood1", "flood2",
                                          "flood3", "flood4", "flood5"));
  texts = flood;
  texts.insert(texts.end(), {{"other", 100}, {"other", 100}, {"small", 150}});
  EXPECT_THAT(OrderOf(texts), ElementsAre("flood1", "other1", "small1", "flood2", "other2",
                                          "flood3", "flood4", "flood5"));
}

TEST(TextPoolTest, OneAfterAnotherDoesNotShutOutALargeOne) {
  constexpr size_t kSmall = 20, kLarge = 1000;
  size_t before = 0;  // bytes of small texts that were read before the large one
  bool is_read = false;
  std::function<void()> small;  // adds the next one
  {
    TextPool pool(kOptions);
    small = [&] {
      before += is_read ? 0 : kSmall;
      if (before < 2 * kLarge && !is_read) pool.RunInTurn("small", kSmall, small);
    };
    pool.RunInTurn("small", kSmall, [&] {
      pool.RunInTurn("large", kLarge, [&is_read] { is_read = true; });
      small();
    });
  }
  EXPECT_LE(before, kLarge + kSmall);
}

TEST(TextPoolTest, BeyondItsLimitWhoHasLessThanHisPartMayWait) {
  std::string waited, refused;
  {
    BusyPool busy;
    TextPool& pool = busy.pool();
    for (const char* caller : {"a", "a", "a", "b", "b", "c", "d"}) {
      pool.Run(caller, kTooLarge, [&, caller](const absl::Status& turn) {
        (turn.ok() ? waited : refused).append(caller);
      });
    }
    EXPECT_EQ(refused, "abd");
  }
  EXPECT_EQ(waited, "abca");
}

}  // namespace
}  // namespace peerage
