#include "server/rpc/text_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kSmallEnough = 10;
constexpr size_t kTooLarge = 11;
constexpr TextPoolOptions kOptions = {
    .threads = 1, .max_waiting = 2, .at_once_bytes = kSmallEnough};

TEST(TextPoolTest, ReadsWhatIsSmallAtOnceOnTheCallersThread) {
  TextPool pool(kOptions);
  std::thread::id small;
  pool.Run(kSmallEnough, [&small](const absl::Status& turn) {
    EXPECT_TRUE(turn.ok());
    small = std::this_thread::get_id();
  });
  EXPECT_EQ(small, std::this_thread::get_id());

  std::thread::id large;
  absl::Notification done;
  pool.Run(kTooLarge, [&](const absl::Status& turn) {
    EXPECT_TRUE(turn.ok());
    large = std::this_thread::get_id();
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_NE(large, std::this_thread::get_id());
}

TEST(TextPoolTest, WhatIsSmallDoesNotWaitForWhatIsLarge) {
  TextPool pool(kOptions);
  absl::Notification began, gate;
  pool.RunInTurn(kTooLarge, [&] {
    began.Notify();
    gate.WaitForNotification();
  });
  began.WaitForNotification();
  bool read = false;
  pool.Run(kSmallEnough, [&read](const absl::Status& turn) { read = turn.ok(); });
  EXPECT_TRUE(read);
  gate.Notify();
}

TEST(TextPoolTest, RefusesWhenTooManyWaitAndRunsTheRestInOrder) {
  std::vector<std::string> order;
  absl::Status refused;
  {
    TextPool pool(kOptions);
    absl::Notification began, gate;
    pool.RunInTurn(kTooLarge, [&] {
      began.Notify();
      gate.WaitForNotification();
    });
    began.WaitForNotification();
    const auto add = [&](const std::string& name) {
      return [&order, name](const absl::Status& turn) {
        EXPECT_TRUE(turn.ok());
        order.push_back(name);
      };
    };
    pool.Run(kTooLarge, add("first"));
    pool.Run(kTooLarge, add("second"));
    pool.Run(kTooLarge, [&refused](const absl::Status& turn) { refused = turn; });
    pool.RunInTurn(kTooLarge, [&order] { order.push_back("patient"); });
    gate.Notify();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("2 texts wait"));
  EXPECT_THAT(order, ElementsAre("first", "second", "patient"));
}

}  // namespace
}  // namespace peerage
