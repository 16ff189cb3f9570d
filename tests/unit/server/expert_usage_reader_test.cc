#include "server/experts/expert_usage_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/synchronization/notification.h"
#include "model/experts/expert_usage.h"
#include "server/engine/inbox.h"
#include "server/engine/retry_delay.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using Code = absl::StatusCode;

class ExpertUsageReaderTest : public EngineTest {
 protected:
  ~ExpertUsageReaderTest() override { Stop(); }

  void StartWithExperts(ExpertUsageMode mode = ExpertUsageMode::kRecent, int workers = 1) {
    Stop();
    statistics_.clear();
    std::vector<std::unique_ptr<LanguageModel>> models;
    std::vector<ExpertStatistics*> statistics;
    for (int i = 0; i < workers; ++i) {
      models.push_back(std::make_unique<FakeModel>(FakeModelOptions{.expert_layers = layers_}));
      statistics_.push_back(
          std::make_unique<ExpertStatistics>(mode, models.back().get(), clock_.Now()));
      statistics.push_back(statistics_.back().get());
    }
    model_ = static_cast<FakeModel*>(models.front().get());
    const EngineOptions options{
        .on_model_gone = [this](int worker) { statistics_[worker]->Forget(); },
        .every_turn = [this](int worker, absl::Time now) { statistics_[worker]->Advance(now); }};
    engine_ =
        std::make_unique<Engine>(options, std::move(models), &tokenizer_, &clock_, &observer_);
    sums_ = std::make_unique<BackgroundLane>(&clock_);
    reader_ = std::make_unique<ExpertUsageReader>(
        ExpertUsageParts{engine_.get(), statistics, sums_.get(), &clock_});
  }

  // As the server stops: first the worker, which gives the lane work.
  void Stop() {
    if (engine_ != nullptr) engine_->Stop();
    sums_.reset();
  }

  absl::StatusOr<ExpertUsage> Read(int layer, UsageWindow window) {
    std::optional<absl::StatusOr<ExpertUsage>> result;
    absl::Notification done;
    reader_->Read(layer, window, [&](absl::StatusOr<ExpertUsage> usage) {
      result = std::move(usage);
      done.Notify();
    });
    done.WaitForNotification();
    return *std::move(result);
  }

  std::vector<std::unique_ptr<ExpertStatistics>> statistics_;  // by worker
  std::unique_ptr<BackgroundLane> sums_;
  std::unique_ptr<ExpertUsageReader> reader_;
  const std::vector<ExpertLayer> layers_ = {{.num_experts = 30, .heads = 2, .top_k = 2},
                                            {.layer = 1, .num_experts = 7, .heads = 1, .top_k = 3}};
};

// Adds a trace's picks to what an expert layer should have counted.
void Count(const ExpertTrace& trace, int layer, std::vector<uint64_t>& selections,
           std::vector<uint64_t>& scores) {
  const PickLog& log = trace.layers[layer];
  for (size_t i = 0; i < log.ids().size(); ++i) {
    ++selections[log.ids()[i]];
    scores[log.ids()[i]] += ExpertScore(log.weights()[i]);
  }
}

// Whichever workers computed what.
class UsageOfWorkersTest : public ExpertUsageReaderTest,
                           public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Workers, UsageOfWorkersTest, ::testing::Values(1, 2, 3));

TEST_P(UsageOfWorkersTest, IsTheSumOfTheTracesAndOfWhatCandidatesComputeAgain) {
  StartWithExperts(ExpertUsageMode::kRecent, GetParam());
  std::vector<Call> calls;
  constexpr uint32_t kCandidates = 3;
  for (TokenId i = 1; i <= 8; ++i) {
    GenerateRequest generate = Generate({i, i + 1, i + 2}, i);
    generate.candidates = i % 2 == 0 ? kCandidates : 1;
    generate.trace = ExpertTraceLevel::kFull;
    calls.push_back(Submit(generate));
    calls.push_back(Submit(ScoreRequest{.context = {i, 3},
                                        .continuations = {{i, 1, 2}, {5}, {6, 7}},
                                        .trace = ExpertTraceLevel::kFull}));
  }
  for (const Call& call : calls) ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());

  for (const WorkerStatus& worker : engine_->status().workers) EXPECT_GT(worker.steps, 0u);
  for (int layer = 0; layer < 2; ++layer) {
    std::vector<uint64_t> selections(layers_[layer].num_experts);
    std::vector<uint64_t> scores(layers_[layer].num_experts);
    for (const Call& call : calls) {
      const RecordingSink::Record record = call.sink->record();
      ASSERT_TRUE(record.prompt_trace);
      Count(*record.prompt_trace, layer, selections, scores);
      for (const auto& [i, trace] : record.score_traces) Count(trace, layer, selections, scores);
      for (const auto& [i, candidate] : record.candidates) {
        Count(candidate.finish->trace, layer, selections, scores);
      }
    }
    for (TokenId i = 2; i <= 8; i += 2) {  // the last prompt token, for the forked candidates
      const auto picks = FakeModel::PicksOf(layers_[layer], i + 2, 2);
      for (size_t pick = 0; pick < picks.ids.size(); ++pick) {
        selections[picks.ids[pick]] += kCandidates - 1;
        scores[picks.ids[pick]] += (kCandidates - 1) * ExpertScore(picks.weights[pick]);
      }
    }
    const absl::StatusOr<ExpertUsage> usage = Read(layer, UsageWindow::kRecent);
    ASSERT_TRUE(usage.ok()) << usage.status();
    EXPECT_EQ(usage->selections, selections);
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_EQ(usage->score_sums[i], static_cast<double>(scores[i]) * ExpertCount::kUnit);
    }
  }
}

TEST_F(ExpertUsageReaderTest, WindowsFollowTheClockWhileNothingRuns) {
  StartWithExperts();
  ASSERT_EQ(Submit(Generate({1, 2, 3}, 1)).sink->WaitDone(), absl::OkStatus());
  EXPECT_EQ(Read(0, UsageWindow::kRecent)->tokens, 3u);
  clock_.Advance(ExpertStatistics::kSlice);
  EXPECT_EQ(Read(0, UsageWindow::kRecent)->tokens, 3u);
  clock_.Advance(ExpertStatistics::kSlice);
  EXPECT_EQ(Read(0, UsageWindow::kRecent)->tokens, 0u);
  EXPECT_EQ(Read(0, UsageWindow::kTotal)->tokens, 3u);
}

TEST_F(ExpertUsageReaderTest, CountsAFailedRequestsTokensToo) {
  StartWithExperts();
  model_->PoisonToken(9);
  EXPECT_EQ(Submit(Generate({1, 9}, 1)).sink->WaitDone().code(), Code::kInternal);
  EXPECT_EQ(Read(1, UsageWindow::kTotal)->tokens, 2u);
}

TEST_F(ExpertUsageReaderTest, RefusesWindowsThatAreNotKept) {
  StartWithExperts(ExpertUsageMode::kOff);
  EXPECT_EQ(Read(0, UsageWindow::kTotal).status().code(), Code::kFailedPrecondition);
  StartWithExperts(ExpertUsageMode::kTotal);
  EXPECT_EQ(Read(0, UsageWindow::kRecent).status().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(Read(0, UsageWindow::kTotal).ok());
}

TEST_F(ExpertUsageReaderTest, ALostWorkerLeavesTheUsageOfTheOthers) {
  StartWithExperts(ExpertUsageMode::kRecent, 2);
  ASSERT_EQ(Submit(Generate({1, 2, 3}, 1)).sink->WaitDone(), absl::OkStatus());
  ASSERT_EQ(Submit(Generate({1, 2}, 1)).sink->WaitDone(), absl::OkStatus());
  EXPECT_EQ(Read(0, UsageWindow::kTotal)->tokens, 5u);
  clock_.Advance(ExpertStatistics::kSlice);
  EXPECT_EQ(Read(0, UsageWindow::kTotal)->tokens, 5u);
  model_->FailNextStep(absl::UnavailableError("gone"));
  EXPECT_EQ(Submit(Generate({4}, 1)).sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_EQ(Read(0, UsageWindow::kTotal)->tokens, 5u) << "of earlier slices";
  ASSERT_EQ(Submit(Generate({1, 2}, 1)).sink->WaitDone(), absl::OkStatus());
  EXPECT_EQ(Read(0, UsageWindow::kTotal)->tokens, 7u);
}

TEST_F(ExpertUsageReaderTest, ReadsNothingOfALostModel) {
  StartWithExperts();
  const Call call = SubmitAndHold(Long());
  std::vector<absl::Status> answers;
  absl::Notification answered;
  reader_->Reset([&](const absl::Status& status) {  // runs at the turn after the step
    answers.push_back(status);
    answered.Notify();
  });
  model_->FailNextStep(absl::UnavailableError("gone"));
  model_->OpenGate();
  EXPECT_EQ(call.sink->WaitDone().code(), Code::kUnavailable);
  answered.WaitForNotification();

  EXPECT_THAT(answers, ElementsAre(absl::UnavailableError("gone")));
  EXPECT_EQ(Read(0, UsageWindow::kTotal).status(), absl::UnavailableError("gone"));
}

// As many as many clients ask for, who ask again at once.
TEST_F(ExpertUsageReaderTest, ReadsOfClientsThatFillTheRoomLeaveTheServersOwn) {
  StartWithExperts();
  ExpertUsageReader own({.engine = engine_.get(),
                         .statistics = {statistics_.front().get()},
                         .sums = sums_.get(),
                         .clock = &clock_,
                         .refuses = false});
  const Call call = SubmitAndHold(Long());
  std::atomic<size_t> reads = 0;
  for (size_t i = 0; i < Inbox::kMostErrands; ++i) {
    reader_->Read(0, UsageWindow::kTotal, [&](const auto& usage) { reads += usage.ok() ? 1 : 0; });
  }
  const absl::Status refused = Read(0, UsageWindow::kTotal).status();
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_TRUE(RetryDelayOf(refused).has_value());
  absl::Status refused_reset;
  reader_->Reset([&](const absl::Status& status) { refused_reset = status; });
  EXPECT_EQ(refused_reset.code(), Code::kResourceExhausted);
  absl::Status windows, summary;
  absl::Notification windows_read, summarized;
  own.ReadWindows(0, [&](const auto& read) {
    windows = read.status();
    windows_read.Notify();
  });
  reader_->Summarize(UsageWindow::kTotal, [&](const auto& read) {
    summary = read.status();
    summarized.Notify();
  });
  model_->OpenGate();
  windows_read.WaitForNotification();
  summarized.WaitForNotification();
  EXPECT_EQ(windows, absl::OkStatus());
  EXPECT_EQ(summary, absl::OkStatus());
  EXPECT_EQ(reads, Inbox::kMostErrands);
}

// Each would hold the worker for as long as its counters take. Those beyond so many are refused:
// a step may take long, and whoever has cancelled would be remembered for as long.
TEST_F(ExpertUsageReaderTest, ResetsThatWaitAreOneOfSoMany) {
  StartWithExperts();
  const Call call = SubmitAndHold(Long());
  constexpr size_t kResets = 1 + Inbox::kMostErrands;
  std::atomic<size_t> answers = 0;
  absl::Notification all;
  for (size_t i = 0; i < kResets; ++i) {
    reader_->Reset([&](const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
      if (++answers == kResets) all.Notify();
    });
  }
  EXPECT_TRUE(engine_->CheckTaskRoom().ok()) << "there is room for others";
  absl::Status refused;
  reader_->Reset([&](const absl::Status& status) { refused = status; });
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_TRUE(RetryDelayOf(refused).has_value());
  clock_.Advance(absl::Seconds(1));
  model_->OpenGate();
  all.WaitForNotification();
  EXPECT_EQ(call.sink->WaitDone().code(), Code::kOk);
  EXPECT_EQ(Read(0, UsageWindow::kTotal)->start, clock_.Now());
}

TEST_F(ExpertUsageReaderTest, AnswersEveryReadWhenItStops) {
  StartWithExperts();
  const Call call = SubmitAndHold(Long());
  int answers = 0;
  reader_->Read(0, UsageWindow::kTotal, [&](const auto&) { ++answers; });
  reader_->Summarize(UsageWindow::kTotal, [&](const auto&) { ++answers; });
  reader_->Reset([&](const auto&) { ++answers; });
  model_->OpenGate();
  Stop();
  EXPECT_EQ(answers, 3);
}

}  // namespace
}  // namespace peerage
