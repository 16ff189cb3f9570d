#include "server/engine/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/retry_delay.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using Code = absl::StatusCode;

constexpr int32_t kBlock = 4;
constexpr int64_t kSlack = 100;

// A router, inboxes of a few requests each without workers behind them, and prompts.
class RouterTest : public ::testing::Test {
 protected:
  void Start(int workers, const InboxLimits& limits = {}) {
    router_.emplace(workers, kBlock, kSlack);
    for (int i = 0; i < workers; ++i) {
      inboxes_.push_back(std::make_unique<Inbox>(limits, &clock_));
      router_->AddWorker(inboxes_.back().get());
    }
  }

  // Counts up from `first`.
  const std::vector<TokenId>& Prompt(TokenId first, size_t length) {
    std::vector<TokenId> tokens(length);
    std::iota(tokens.begin(), tokens.end(), first);
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(std::move(tokens)));
    return *prompts_.back();
  }

  std::unique_ptr<Task> MakeTask(const std::vector<TokenId>& prompt, const std::string& salt = "") {
    Work work{.salt = salt};
    work.branches.push_back({.tokens = prompt});
    return std::make_unique<Task>(++last_handle_, SchedulingParams(), std::move(work), kBlock);
  }

  // The worker that gets the request.
  int Submit(const std::vector<TokenId>& prompt, const std::string& salt = "") {
    const std::vector<int64_t> before = Requests();
    EXPECT_EQ(router_->Submit(MakeTask(prompt, salt)), absl::OkStatus());
    const std::vector<int64_t> after = Requests();
    int worker = 0;
    while (before[worker] == after[worker]) ++worker;
    return worker;
  }

  std::vector<int64_t> Requests() const {
    std::vector<int64_t> requests;
    for (const auto& inbox : inboxes_) requests.push_back(inbox->load().requests);
    return requests;
  }

  // As if the worker had begun with so many of those that came.
  void Begin(int worker, int64_t requests) {
    taken_ = inboxes_[worker]->Take().arrivals;
    std::vector<WaitingChange> changes;
    for (const auto& task : taken_) {
      if (requests-- > 0) changes.push_back(CeasesToWait(*task));
    }
    inboxes_[worker]->Count(changes);
  }

  // As if the worker had computed everything.
  void Finish(int worker) {
    Begin(worker, INT64_MAX);
    for (const auto& task : taken_) inboxes_[worker]->Done(LoadOf(*task));
  }

  FakeClock clock_;
  std::vector<std::unique_ptr<std::vector<TokenId>>> prompts_;
  std::vector<std::unique_ptr<Inbox>> inboxes_;
  std::vector<std::unique_ptr<Task>> taken_;  // lately
  std::optional<Router> router_;
  RequestHandle last_handle_ = 0;
};

TEST_F(RouterTest, EqualWorkersTakeTurns) {
  Start(3);
  std::vector<int> workers;
  for (TokenId i = 0; i < 6; ++i) workers.push_back(Submit(Prompt(100 * i, 3)));
  EXPECT_THAT(workers, ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST_F(RouterTest, WhoHasLeastToDoIsFirst) {
  Start(2);
  EXPECT_EQ(Submit(Prompt(0, 200)), 0);
  // One long prompt is as much as a few short ones.
  const int64_t each = 2 + Router::kTokensOfRequest;
  for (int64_t work = 0; work <= 200 + Router::kTokensOfRequest; work += each) {
    EXPECT_EQ(Submit(Prompt(1000, 2)), 1) << work;
  }
  EXPECT_EQ(Submit(Prompt(1000, 2)), 0);
  Finish(1);
  EXPECT_EQ(Submit(Prompt(1000, 2)), 1);
}

TEST_F(RouterTest, PromptsThatBeginAlikeGoToTheSameWorker) {
  Start(3);
  const std::vector<TokenId> system = Prompt(0, 5 * kBlock);
  EXPECT_EQ(Submit(Prompt(500, 8)), 0);
  EXPECT_EQ(Submit(system), 1);
  for (TokenId i = 0; i < 2; ++i) {
    std::vector<TokenId> prompt = system;
    prompt.push_back(900 + i);
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(prompt));
    EXPECT_EQ(Submit(*prompts_.back()), 1);
  }
  EXPECT_EQ(Submit(Prompt(700, 8)), 2) << "another one goes where there is nothing to do";
  Finish(0);
  Finish(1);
  Finish(2);
  EXPECT_EQ(Submit(Prompt(0, 5 * kBlock)), 1) << "also later";
}

// Less than a block is nothing that could be kept.
TEST_F(RouterTest, OnlyWholeBlocksAreAlike) {
  Start(2);
  EXPECT_EQ(Submit(Prompt(0, kBlock - 1)), 0);
  EXPECT_EQ(Submit(Prompt(0, kBlock - 1)), 1);
  EXPECT_EQ(Submit(Prompt(0, kBlock)), 0);
  EXPECT_EQ(Submit(Prompt(0, kBlock)), 0);
}

TEST_F(RouterTest, OtherSaltsAreOtherPrefixes) {
  Start(2);
  EXPECT_EQ(Submit(Prompt(0, 20), "a"), 0);
  EXPECT_EQ(Submit(Prompt(0, 20), "b"), 1);
  EXPECT_EQ(Submit(Prompt(0, 20), "b"), 1);
  EXPECT_EQ(Submit(Prompt(0, 20), "a"), 0);
}

TEST_F(RouterTest, ThePrefixIsLeftWhenItsWorkerIsMuchBusier) {
  Start(2);
  const std::vector<TokenId>& prompt = Prompt(0, 2 * kBlock);
  const int64_t each = 2 * kBlock + Router::kTokensOfRequest;
  int on_first = 0;
  while (Submit(prompt) == 0) ++on_first;
  EXPECT_EQ(on_first, (kSlack + 2 * kBlock) / each + 1);
  EXPECT_EQ(Submit(prompt), 1) << "now both have it, and this one has less to do";
}

TEST_F(RouterTest, RemembersABoundedNumberOfPrefixes) {
  Start(2);
  // Where it goes when it is the other worker's turn.
  const auto submit = [this](TokenId first, int worker) {
    while (Submit(Prompt(0, 1)) != worker) {
    }
    Finish(0);
    Finish(1);
    const int found = Submit(Prompt(first, kBlock));
    Finish(found);
    return found;
  };
  ASSERT_EQ(Submit(Prompt(1 << 30, kBlock)), 0);
  Finish(0);
  EXPECT_EQ(submit(1 << 30, 0), 0);
  int latest = 0;
  for (TokenId i = 0; i < Router::kMostPrefixes; ++i) {
    latest = Submit(Prompt(kBlock * i, kBlock));
    Finish(latest);
  }
  EXPECT_EQ(submit(kBlock * (Router::kMostPrefixes - 1), latest), latest);
  EXPECT_EQ(submit(1 << 30, 0), 1) << "it is forgotten";
}

TEST_F(RouterTest, RefusesWhenAllAreFullAndSaysWhenTheFirstWillNotBe) {
  Start(2, {.requests = 2});
  for (TokenId i = 0; i < 4; ++i) Submit(Prompt(0, 40));
  EXPECT_THAT(Requests(), ElementsAre(2, 2)) << "whoever is full is passed over";
  // The second one's requests cease to wait, twice as fast.
  clock_.Advance(absl::Seconds(4));
  Begin(0, 1);
  Begin(1, 2);
  for (TokenId i = 0; i < 3; ++i) Submit(Prompt(0, 40));

  const absl::Status refusal = router_->Submit(MakeTask(Prompt(0, 40)));

  EXPECT_EQ(refusal.code(), Code::kResourceExhausted);
  EXPECT_EQ(RetryDelayOf(refusal), absl::Seconds(4));
}

TEST_F(RouterTest, AWorkerThatIsNotReadyGetsNothingWhileAnotherOneIs) {
  Start(3);
  EXPECT_EQ(Submit(Prompt(0, 20)), 0);
  EXPECT_FALSE(router_->SetState(0, WorkerState::kRebuilding));
  EXPECT_FALSE(router_->SetState(1, WorkerState::kLost));
  for (TokenId i = 0; i < 4; ++i) EXPECT_EQ(Submit(Prompt(0, 20)), 2);
  EXPECT_FALSE(router_->SetState(2, WorkerState::kLost));
  EXPECT_EQ(Submit(Prompt(0, 20)), 0) << "it will be ready";
  EXPECT_FALSE(router_->SetState(0, WorkerState::kReady));
  EXPECT_TRUE(router_->SetState(0, WorkerState::kLost)) << "the last one";
}

TEST_F(RouterTest, MovesToReadyWorkersAndBackToTheInboxWhenThereAreNone) {
  Start(3);
  const auto take_all = [this] { return inboxes_[0]->TakeRequests().arrivals; };
  for (TokenId i = 0; i < 6; ++i) Submit(Prompt(100 * i, 3));
  ASSERT_THAT(Requests(), ElementsAre(2, 2, 2));

  router_->SetState(0, WorkerState::kRebuilding);
  router_->MoveAway(0, take_all);
  EXPECT_THAT(Requests(), ElementsAre(0, 3, 3));

  router_->SetState(1, WorkerState::kRebuilding);
  router_->SetState(2, WorkerState::kRebuilding);
  EXPECT_EQ(Submit(Prompt(0, 20)), 0);
  router_->MoveAway(0, take_all);
  EXPECT_THAT(Requests(), ElementsAre(1, 3, 3)) << "nobody is better off";

  router_->SetState(0, WorkerState::kLost);
  router_->MoveAway(0, take_all);
  EXPECT_EQ(Requests()[0], 0) << "another one will be ready";
  EXPECT_FALSE(router_->AllDone());
  for (int i = 0; i < 3; ++i) Finish(i);
  EXPECT_TRUE(router_->AllDone());
}

TEST_F(RouterTest, ACancellationFindsARequestThatMoves) {
  Start(2);
  ASSERT_EQ(Submit(Prompt(0, 3)), 0);
  router_->SetState(0, WorkerState::kRebuilding);
  router_->MoveAway(0, [this] { return inboxes_[0]->TakeRequests().arrivals; });
  router_->Cancel(last_handle_);
  const Mail mail = inboxes_[1]->Take();
  ASSERT_EQ(mail.arrivals.size(), 1u);
  EXPECT_THAT(mail.cancelled, ElementsAre(last_handle_));
}

}  // namespace
}  // namespace peerage
