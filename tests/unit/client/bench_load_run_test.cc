#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "client/bench/load_run.h"

namespace peerage::client {
namespace {

// Ends each call at once, or when it is cancelled, as `answer` says; nothing: not before.
class FakeCalls : public Calls {
 public:
  using Answer = std::function<std::optional<absl::Status>(const DueCall&)>;
  explicit FakeCalls(Answer answer) : answer_(std::move(answer)) {}

  void Start(const DueCall& call, const RunClock& clock, Done done) override {
    CallRecord record{.begun = call, .sent = clock.Now()};
    started.push_back(call);
    if (const auto status = answer_(call)) {
      record.status = *status;
      record.ended = clock.Now();
      done(std::move(record));
      return;
    }
    open_.emplace_back(std::move(record), std::move(done));
    if (on_open) on_open();
  }

  void Cancel() override {
    for (auto& [record, done] : std::exchange(open_, {})) {
      record.status = absl::CancelledError("");
      record.ended = record.sent;
      done(std::move(record));
    }
  }

  std::vector<DueCall> started;
  std::function<void()> on_open;

 private:
  const Answer answer_;
  std::vector<std::pair<CallRecord, Done>> open_;
};

absl::Status Refusal(absl::Duration delay) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(delay)));
  absl::Status status = absl::ResourceExhaustedError("full");
  status.SetPayload("type.googleapis.com/google.rpc.RetryInfo",
                    absl::Cord(info.SerializeAsString()));
  return status;
}

void Ignore(size_t) {}

TEST(LoadRunTest, MakesEachCallOnce) {
  FakeCalls calls([](const DueCall&) { return absl::OkStatus(); });
  LoadRun run({.traffic = {.request_rate = 1e5}, .count = 500, .first_call = 1000}, calls);
  const RunRecords records = run.Run(Ignore);

  ASSERT_EQ(records.calls.size(), 500);
  EXPECT_EQ(records.unfinished, 0);
  for (size_t i = 0; i < 500; ++i) {
    EXPECT_EQ(records.calls[i].begun.call, i);
    EXPECT_EQ(calls.started[i].call, 1000 + i);
    EXPECT_GE(records.calls[i].sent, records.calls[i].begun.due);  // never early
    EXPECT_GE(records.duration, records.calls[i].ended);
  }
}

TEST(LoadRunTest, SendsAgainWhatIsRefusedForNowAsOftenAsItMay) {
  std::map<size_t, int> tries;
  FakeCalls calls([&](const DueCall& call) -> absl::Status {
    const int before = tries[call.call]++;
    if (call.call == 1 && before < 2) return Refusal(absl::Microseconds(10));
    if (call.call == 2) return Refusal(absl::Microseconds(10));
    if (call.call == 3) return absl::InvalidArgumentError("never");
    return absl::OkStatus();
  });
  LoadRun run({.traffic = {.max_concurrency = 2}, .count = 5, .retries = 3}, calls);
  const RunRecords records = run.Run(Ignore);

  ASSERT_EQ(records.calls.size(), 5);
  EXPECT_EQ(tries, (std::map<size_t, int>{{0, 1}, {1, 3}, {2, 4}, {3, 1}, {4, 1}}));
  EXPECT_TRUE(records.calls[1].status.ok());
  EXPECT_EQ(records.calls[1].begun.retries, 2);
  EXPECT_TRUE(absl::IsResourceExhausted(records.calls[2].status));
  EXPECT_EQ(records.calls[2].begun.retries, 3);
  EXPECT_TRUE(absl::IsInvalidArgument(records.calls[3].status));
  EXPECT_EQ(records.calls[3].begun.retries, 0);
}

TEST(LoadRunTest, WaitsAsLongAsTheServerAsks) {
  FakeCalls calls([](const DueCall& call) {
    return call.retries == 0 ? Refusal(absl::Milliseconds(30)) : absl::OkStatus();
  });
  LoadRun run({.traffic = {.max_concurrency = 1}, .count = 1, .retries = 1}, calls);
  const RunRecords records = run.Run(Ignore);
  ASSERT_EQ(records.calls.size(), 1);
  EXPECT_GE(records.calls[0].latency(), absl::Milliseconds(30));  // the wait counts
}

TEST(LoadRunTest, LeavesOutWhatIsCutOff) {
  FakeCalls calls([](const DueCall& call) -> std::optional<absl::Status> {
    if (call.call < 3) return absl::OkStatus();
    return std::nullopt;
  });
  LoadRun run({.traffic = {.max_concurrency = 2}, .count = 10}, calls);
  std::vector<std::thread> interrupts;
  calls.on_open = [&] {
    if (calls.started.size() == 5) interrupts.emplace_back([&run] { run.Stop(); });
  };
  const RunRecords records = run.Run(Ignore);
  for (std::thread& interrupt : interrupts) interrupt.join();

  EXPECT_EQ(interrupts.size(), 1);
  ASSERT_EQ(records.calls.size(), 3);
  EXPECT_EQ(records.calls[2].begun.call, 2);
  EXPECT_EQ(records.unfinished, 7);
}

TEST(LoadRunTest, MakesNothingWhenItWasStoppedBefore) {
  FakeCalls calls([](const DueCall&) { return absl::OkStatus(); });
  LoadRun run({.traffic = {.request_rate = 1}, .count = 10}, calls);
  run.Stop();
  EXPECT_EQ(run.Run(Ignore).unfinished, 10);
  EXPECT_TRUE(calls.started.empty());
}

}  // namespace
}  // namespace peerage::client
