#include "server/engine/waiting_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Time kNow = absl::UnixEpoch();

using Fit = WaitingLine::Fit;

Fit All(const Task&, bool) { return Fit::kFits; }

Fit FewTokens(const Task& task, bool) { return task.prompt_tokens < 50 ? Fit::kFits : Fit::kLacks; }

class WaitingLineTest : public ::testing::Test {
 protected:
  Task& Add(const SchedulingParams& scheduling, int32_t tokens = 1, absl::Time now = kNow,
            bool is_throughput = false) {
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(tokens, 1));
    auto task =
        std::make_unique<Task>(++last_handle_, scheduling,
                               Work{.branches = {{.tokens = *prompts_.back(), .positions = tokens}},
                                    .is_throughput = is_throughput},
                               /*block_tokens=*/1);
    task->prompt_tokens = tokens;
    Task& added = *task;
    line_.Add(std::move(task), now);
    return added;
  }

  Task& AddOf(const std::string& tenant, int32_t tokens, absl::Time now = kNow) {
    return Add({.tenant = tenant, .arrival = now}, tokens, now);
  }

  // Starts the next one that fits; 0 when there is none.
  template <typename Fits>
  RequestHandle Start(Fits fits, absl::Time now = kNow) {
    Task* const next = line_.Next(now, fits);
    if (next == nullptr) return 0;
    started_.push_back(line_.Start(*next));
    return next->handle;
  }

  std::vector<RequestHandle> StartAll(absl::Time now = kNow) {
    std::vector<RequestHandle> order;
    while (const RequestHandle handle = Start(All, now)) order.push_back(handle);
    return order;
  }

  WaitingLine line_;
  std::vector<std::unique_ptr<Task>> started_;
  std::vector<std::unique_ptr<std::vector<TokenId>>> prompts_;
  RequestHandle last_handle_ = 0;
};

TEST_F(WaitingLineTest, ComesInTheOrderOfArrival) {
  Add({.arrival = kNow + absl::Milliseconds(3)});
  Add({.arrival = kNow});
  Add({.arrival = kNow});

  EXPECT_EQ(line_.front()->handle, 2u);
  EXPECT_EQ(line_.waiting().requests, 3);
  EXPECT_EQ(line_.waiting().prompt_tokens, 3);
  EXPECT_THAT(StartAll(), ElementsAre(2, 3, 1));
  EXPECT_EQ(line_.front(), nullptr);
  EXPECT_EQ(line_.waiting().requests, 0);
  EXPECT_EQ(line_.waiting().prompt_tokens, 0);
}

TEST_F(WaitingLineTest, WhoeverNamesNoTenantIsOneWithHisHost) {
  const auto add = [this](const std::string& tenant, const std::string& host) {
    return Add({.tenant = tenant, .host = host, .arrival = kNow}, 10).handle;
  };
  add("", "ipv4:10.0.0.1");
  add("", "ipv4:10.0.0.1");
  add("", "ipv4:10.0.0.2");
  add("a", "ipv4:10.0.0.1");
  add("a", "ipv4:10.0.0.2");

  EXPECT_THAT(StartAll(), ElementsAre(4, 1, 3, 5, 2));
  EXPECT_NE(SharerOf({.host = "a"}), SharerOf({.tenant = "a"})) << "a name of somebody else";
  EXPECT_EQ(SharerOf({}), "") << "of whom nothing is known";
}

// A level of priority is worth so much of waiting, and no more: whoever has waited that long comes
// first.
TEST_F(WaitingLineTest, AgesWhateverThePriority) {
  Add({.priority = 1, .arrival = kNow});
  Add({.arrival = kNow + kPriorityStep - absl::Milliseconds(1)});
  Add({.arrival = kNow + kPriorityStep + absl::Milliseconds(1)});
  Add({.priority = -100, .arrival = kNow + 100 * kPriorityStep});
  Add({.priority = -100, .arrival = kNow + 102 * kPriorityStep});

  EXPECT_THAT(StartAll(), ElementsAre(4, 2, 1, 3, 5));
}

TEST_F(WaitingLineTest, WhoHasLittleTimeComesFirst) {
  Add({.arrival = kNow});
  Add({.arrival = kNow, .deadline = kNow + absl::Seconds(9)});
  Add({.arrival = kNow, .deadline = kNow + absl::Seconds(3)});
  Add({.arrival = kNow, .deadline = kNow + absl::Hours(9)});

  EXPECT_THAT(StartAll(), ElementsAre(3, 2, 1, 4));
}

TEST_F(WaitingLineTest, ThroughputWorkLetsOthersPassForAWhile) {
  Add({.arrival = kNow}, 1, kNow, /*is_throughput=*/true);
  Add({.arrival = kNow + kThroughputStep - absl::Milliseconds(1)});
  Add({.arrival = kNow + kThroughputStep + absl::Milliseconds(1)});

  EXPECT_THAT(StartAll(), ElementsAre(2, 1, 3));
}

// Tokens decide, not requests: while one tenant has four requests of 10, another has one of 40.
TEST_F(WaitingLineTest, TenantsTakeTurnsByTheTokensThatTheyBring) {
  for (int i = 0; i < 5; ++i) AddOf("many", 10);   // 1 to 5
  for (int i = 0; i < 2; ++i) AddOf("large", 40);  // 6, 7

  EXPECT_THAT(StartAll(), ElementsAre(6, 1, 2, 3, 4, 7, 5));
}

TEST_F(WaitingLineTest, WhatIsGeneratedCountsAsWell) {
  AddOf("a", 1);
  AddOf("b", 1);
  ASSERT_EQ(Start(All), 1u);
  line_.Charge(*started_[0], 100);
  AddOf("a", 1);
  AddOf("b", 1);

  EXPECT_THAT(StartAll(), ElementsAre(2, 4, 3));
}

// It did not use its share while it was away, and gets no more than its turn now.
TEST_F(WaitingLineTest, IdlingEarnsNothing) {
  for (int i = 0; i < 6; ++i) AddOf("busy", 10);
  for (int i = 0; i < 4; ++i) Start(All);
  for (int i = 0; i < 3; ++i) AddOf("new", 10);  // 7, 8, 9

  EXPECT_THAT(StartAll(), ElementsAre(5, 7, 6, 8, 9));
}

TEST_F(WaitingLineTest, ADebtIsForgivenByTime) {
  const auto later = [](double half_lives) {
    return kNow + half_lives * WaitingLine::kDebtHalfLife;
  };
  // Until `now`, a tenant that was served 1000 tokens more than the others is away.
  const auto turns = [&](absl::Time now) {
    line_ = WaitingLine();
    started_.clear();
    AddOf("other", 1);
    AddOf("heavy", 1000);
    EXPECT_THAT(StartAll(), testing::SizeIs(2));
    for (auto& task : started_) line_.Leave(*task, kNow);
    const RequestHandle first = AddOf("heavy", 1, now).handle;
    for (int i = 0; i < 20; ++i) AddOf("other", 100, now);
    const std::vector<RequestHandle> order = StartAll(now);
    return std::find(order.begin(), order.end(), first) - order.begin();
  };

  EXPECT_EQ(turns(later(0)), 5) << "500 tokens more than its share";
  EXPECT_EQ(turns(later(1)), 3);
  EXPECT_EQ(turns(later(40)), 1);
}

TEST_F(WaitingLineTest, ForgetsTheTenantThatIsIdleLongest) {
  // Of "h" and "z" at the same share, "h" comes first; with its debt it would not.
  const auto heavy_comes_first = [this](size_t others) {
    line_ = WaitingLine();
    started_.clear();
    AddOf("runs on", 1);
    AddOf("h", 1'000'000);
    for (size_t i = 0; i < others; ++i) AddOf(absl::StrCat(i), 1);
    StartAll();
    for (const auto& task : started_) {
      if (task->scheduling.tenant == "h") line_.Leave(*task, kNow);
    }
    for (const auto& task : started_) {
      if (task->scheduling.tenant < "h") line_.Leave(*task, kNow + absl::Nanoseconds(1));
    }
    const RequestHandle heavy = AddOf("h", 1).handle;
    AddOf("z", 1);
    return StartAll()[0] == heavy;
  };
  EXPECT_FALSE(heavy_comes_first(WaitingLine::kMostIdleTenants - 1));
  EXPECT_TRUE(heavy_comes_first(WaitingLine::kMostIdleTenants));
}

// Not even when each of those who come has a new name.
TEST_F(WaitingLineTest, NewcomersDoNotPassForEver) {
  AddOf("early", 1000);
  AddOf("other", 1);
  StartAll();
  const RequestHandle waits = AddOf("early", 1).handle;
  int passed = 0;
  for (; passed < 5000; ++passed) {
    AddOf(absl::StrCat("new ", passed), 1);
    if (Start(All) == waits) break;
    line_.Leave(*started_.back(), kNow);
  }
  EXPECT_GT(passed, 500);
  EXPECT_LT(passed, 2000) << "its 1000 tokens, shared among three";
}

TEST_F(WaitingLineTest, OthersPassALargeOneForAWhile) {
  Task& large = Add({.arrival = kNow}, 50);
  for (int i = 0; i < 3; ++i) Add({.arrival = kNow + absl::Milliseconds(1 + i)});
  int64_t room = 10;
  const auto fits = [&room](const Task& task, bool) {
    return task.prompt_tokens <= room ? Fit::kFits : Fit::kLacks;
  };

  EXPECT_EQ(Start(fits, kNow), 2u);
  EXPECT_EQ(Start(fits, kNow + WaitingLine::kPassingLimit - absl::Nanoseconds(1)), 3u);
  EXPECT_EQ(Start(fits, kNow + WaitingLine::kPassingLimit), 0u);
  EXPECT_EQ(line_.front(), &large);
  room = 50;
  EXPECT_EQ(Start(fits, kNow + WaitingLine::kPassingLimit), 1u);
  EXPECT_EQ(Start(fits, kNow + WaitingLine::kPassingLimit), 4u);
}

// Also when it is another tenant's turn by now.
TEST_F(WaitingLineTest, NobodyPassesWhoWasPassedForTooLong) {
  AddOf("b", 1);
  ASSERT_EQ(Start(All), 1u);
  AddOf("a", 50);
  EXPECT_EQ(Start(FewTokens), 0u);
  AddOf("a", 1);
  line_.Charge(*started_.emplace_back(line_.Start(*line_.Next(kNow, FewTokens))), 1000);
  AddOf("b", 1);
  ASSERT_EQ(line_.front()->scheduling.tenant, "b");

  EXPECT_EQ(Start(FewTokens, kNow + WaitingLine::kPassingLimit), 0u);
  EXPECT_EQ(Start(All, kNow + WaitingLine::kPassingLimit), 2u);
  EXPECT_EQ(Start(FewTokens, kNow + WaitingLine::kPassingLimit), 4u);
}

// The one that has waited longest leaves room for others: the next one that was passed for too long
// still has its turn.
TEST_F(WaitingLineTest, LeavingRoomHidesNobodyBehind) {
  Add({.arrival = kNow}, 60);
  EXPECT_EQ(Start(FewTokens), 0u);
  const absl::Time later = kNow + WaitingLine::kPassingLimit / 2;
  const auto leaves_room = [](const Task& task, bool) {
    return task.prompt_tokens == 60 ? Fit::kLeavesRoom : FewTokens(task, false);
  };
  Add({.arrival = kNow, .deadline = kNow + absl::Seconds(10)}, 50);  // before it, and does not fit
  EXPECT_EQ(Start(leaves_room, later), 0u);
  Add({.arrival = kNow}, 1);

  EXPECT_EQ(Start(leaves_room, later + WaitingLine::kPassingLimit), 0u);
  EXPECT_EQ(Start(All, later + WaitingLine::kPassingLimit), 1u);
}

TEST_F(WaitingLineTest, OneTenantsTasksThatLeaveRoomHideNoOthers) {
  AddOf("modest", 1);
  ASSERT_EQ(Start(All), 1u);
  for (int i = 0; i <= WaitingLine::kMostLookedAt; ++i) AddOf("many", 60);
  line_.Charge(*started_[0], 1000);
  const RequestHandle modest = AddOf("modest", 1).handle;
  ASSERT_EQ(line_.front()->scheduling.tenant, "many");
  int looked_at = 0;
  const auto leaves_room = [&looked_at](const Task& task, bool) {
    ++looked_at;
    return task.prompt_tokens == 60 ? Fit::kLeavesRoom : Fit::kFits;
  };

  EXPECT_EQ(Start(leaves_room), modest);
  EXPECT_EQ(looked_at, WaitingLine::kMostHeldBack + 1);
  EXPECT_EQ(Start(All), 2u);
}

TEST_F(WaitingLineTest, WhoLeavesHoldsNobodyBack) {
  Task& large = Add({.arrival = kNow}, 50);
  Add({.arrival = kNow + absl::Milliseconds(1)});
  ASSERT_NE(line_.Next(kNow, FewTokens), nullptr);
  ASSERT_EQ(line_.Next(kNow + absl::Hours(1), FewTokens), nullptr);

  const std::unique_ptr<Task> removed = line_.Remove(large, kNow + absl::Hours(1));
  EXPECT_EQ(removed.get(), &large);
  EXPECT_EQ(line_.Remove(*removed, kNow), nullptr);

  EXPECT_EQ(Start(FewTokens, kNow + absl::Hours(1)), 2u);
}

TEST_F(WaitingLineTest, LooksNoFurtherThanItSays) {
  for (int i = 0; i <= WaitingLine::kMostLookedAt; ++i) Add({.arrival = kNow}, 50);
  const RequestHandle small = Add({.arrival = kNow}).handle;
  int looked_at = 0;
  const auto fits = [&looked_at](const Task& task, bool) {
    ++looked_at;
    return FewTokens(task, false);
  };

  EXPECT_EQ(Start(fits), 0u);
  EXPECT_EQ(looked_at, WaitingLine::kMostLookedAt);
  for (int i = 0; i < 2; ++i) line_.Remove(*line_.front(), kNow);
  EXPECT_EQ(Start(fits), small);
}

// Whoever waits all the time is served alike, however much each asks for at a time.
TEST_F(WaitingLineTest, LongRunSharesAreEqual) {
  std::mt19937 random(7);
  const std::vector<std::string> tenants = {"a", "b", "c"};
  std::vector<int64_t> served(3);
  const auto add = [&](size_t tenant) {
    const std::vector<int> most = {3, 40, 200};
    AddOf(tenants[tenant], 1 + static_cast<int32_t>(random() % most[tenant]));
  };
  for (size_t tenant = 0; tenant < 3; ++tenant) add(tenant);
  for (int i = 0; i < 5000; ++i) {
    const RequestHandle handle = Start(All);
    ASSERT_NE(handle, 0u);
    Task& task = *started_.back();
    const auto tenant = static_cast<size_t>(task.scheduling.tenant[0] - 'a');
    add(tenant);
    served[tenant] += task.prompt_tokens;
    const auto [least, most] = std::minmax_element(served.begin(), served.end());
    ASSERT_LE(*most - *least, 200) << "one request is the most that a tenant may be ahead";
    line_.Leave(task, kNow);
  }
}

}  // namespace
}  // namespace peerage
