#include "server/engine/tenant_room.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace peerage {
namespace {

// Of 20 sequences and as many blocks, a tenth of each may be kept for others.
class TenantRoomTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSequences = 20;

  std::unique_ptr<Task> TaskOf(const std::string& tenant) {
    auto task = std::make_unique<Task>(++last_handle_, SchedulingParams{.tenant = tenant},
                                       Work{.branches = {{.tokens = prompt_, .positions = 1}}},
                                       /*block_tokens=*/1);
    return task;
  }

  // Its tasks, of a block and a sequence each, take what they may: how many.
  int TakeAll(const std::string& tenant, int tasks, bool passes = false) {
    for (int i = 0; i < tasks; ++i) {
      auto task = TaskOf(tenant);
      if (available_ == 0 || !MayTake(*task, passes)) return i;
      room_.Take(*task, now_);
      --available_;
      running_.push_back(std::move(task));
    }
    return tasks;
  }

  bool MayTake(const Task& task, bool passes = false) {
    return room_.MayTake(task, {.blocks = available_, .sequences = available_}, passes, now_);
  }

  void EndAllOf(const std::string& tenant) {
    std::erase_if(running_, [&](const auto& task) {
      if (task->scheduling.tenant != tenant) return false;
      room_.GiveBack(*task, now_);
      ++available_;
      return true;
    });
  }

  // So many tokens were computed for it, and it waits. Whoever comes later begins with its share of
  // what was computed before.
  void Serve(const std::string& tenant, int64_t tokens) {
    auto task = TaskOf(tenant);
    Task& waiting = *task;
    line_.Add(std::move(task), now_);
    line_.Charge(waiting, tokens);
  }

  std::vector<TokenId> prompt_ = {1};
  RequestHandle last_handle_ = 0;
  absl::Time now_ = absl::UnixEpoch();
  int64_t available_ = kSequences;
  std::vector<std::unique_ptr<Task>> running_;
  WaitingLine line_;
  TenantRoom room_{{.blocks = kSequences, .sequences = kSequences}, &line_};
};

TEST_F(TenantRoomTest, WhoIsAloneMayTakeEverything) { EXPECT_EQ(TakeAll("a", 100), kSequences); }

TEST_F(TenantRoomTest, WhoWasServedMoreLeavesWhatOthersLatelyHeld) {
  Serve("modest", 1);
  Serve("greedy", 100);
  ASSERT_EQ(TakeAll("modest", 1), 1);
  EndAllOf("modest");

  EXPECT_EQ(TakeAll("greedy", 100), kSequences - 1);
  EXPECT_EQ(TakeAll("modest", 100), 1);
}

TEST_F(TenantRoomTest, ATenthIsLeftAtTheMost) {
  Serve("modest", 1);
  Serve("greedy", 100);
  ASSERT_EQ(TakeAll("modest", 5), 5);
  EndAllOf("modest");

  EXPECT_EQ(TakeAll("greedy", 100), kSequences - kSequences / TenantRoom::kKeptPart);
}

TEST_F(TenantRoomTest, NothingIsLeftForWhoWasServedMore) {
  Serve("greedy", 1);
  Serve("modest", 100);
  ASSERT_EQ(TakeAll("modest", 1), 1);
  EndAllOf("modest");

  EXPECT_EQ(TakeAll("greedy", 100), kSequences);
}

TEST_F(TenantRoomTest, WhatWasHeldIsForgotten) {
  Serve("modest", 1);
  Serve("greedy", 100);
  ASSERT_EQ(TakeAll("modest", 1), 1);
  EndAllOf("modest");
  ASSERT_EQ(TakeAll("greedy", 100), kSequences - 1);

  now_ += TenantRoom::kMemory;
  EXPECT_EQ(TakeAll("greedy", 1), 0);
  now_ += TenantRoom::kMemory;
  EXPECT_EQ(TakeAll("greedy", 1), 1);
}

TEST_F(TenantRoomTest, RemembersNoMoreTenantsThanItSays) {
  for (size_t i = 0; i < 3 * TenantRoom::kMostIdleTenants; ++i) {
    const std::string name = std::to_string(i);
    ASSERT_EQ(TakeAll(name, 1), 1);
    EndAllOf(name);
  }
  EXPECT_EQ(room_.num_tenants(), TenantRoom::kMostIdleTenants);
  now_ += 2 * TenantRoom::kMemory;
  ASSERT_EQ(TakeAll("a", 1), 1);
  EndAllOf("a");
  EXPECT_EQ(room_.num_tenants(), 1u);
}

// Else those that hold little would take every place from one that is before them.
TEST_F(TenantRoomTest, WhoPassesLeavesRoomHoweverLittleItHolds) {
  Serve("modest", 1);
  Serve("first", 50);
  Serve("second", 100);
  ASSERT_EQ(TakeAll("modest", 2), 2);
  EndAllOf("modest");
  ASSERT_EQ(TakeAll("first", 100), kSequences - 2);

  EXPECT_EQ(TakeAll("second", 1, /*passes=*/true), 0);
  EXPECT_EQ(TakeAll("second", 1), 1);
}

}  // namespace
}  // namespace peerage
