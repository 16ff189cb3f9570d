#include "server/experts/expert_usage_reader.h"

#include <utility>

namespace peerage {
namespace {

constexpr absl::Duration kMaxAge = absl::Seconds(1);  // of a summary that is given out again

}  // namespace

absl::Status ExpertUsageReader::CheckWindow(UsageWindow window) const {
  const ExpertUsageMode mode = parts_.statistics->mode();
  if (mode == ExpertUsageMode::kOff) {
    return absl::FailedPreconditionError(
        "expert usage is not counted: the server runs with --expert-usage=off");
  }
  if (!IsKept(window, mode)) {
    return absl::FailedPreconditionError(
        "the recent window is not kept: the server runs with --expert-usage=total");
  }
  return absl::OkStatus();
}

void ExpertUsageReader::RunOnWorker(WorkerTask task, StatusCallback fail) {
  const absl::Status accepted = parts_.engine->RunOnWorker([=, this](absl::Time now) {
    const absl::Status lost = parts_.engine->status().lost;
    if (lost.ok()) return task(now);
    parts_.sums->Run([fail, lost] { fail(lost); });
  });
  if (!accepted.ok()) fail(accepted);
}

void ExpertUsageReader::Read(int expert_layer, UsageWindow window, UsageCallback done) {
  if (absl::Status status = CheckWindow(window); !status.ok()) return done(std::move(status));
  const auto read = [=, this](absl::Time now) {
    const auto snapshot = std::make_shared<const UsageSnapshot>(
        parts_.statistics->Snapshot(expert_layer, window, now));
    parts_.sums->Run([snapshot, done] { done(snapshot->Sum()); });
  };
  RunOnWorker(read, done);
}

void ExpertUsageReader::ReadWindows(int expert_layer, WindowsCallback done) {
  if (absl::Status status = CheckWindow(UsageWindow::kTotal); !status.ok()) {
    return done(std::move(status));
  }
  const auto read = [=, this](absl::Time now) {
    const auto snapshots = std::make_shared<const std::array<std::optional<UsageSnapshot>, 2>>(
        parts_.statistics->Snapshots(expert_layer, now));
    parts_.sums->Run([snapshots, done] {
      const absl::Duration begin = ThreadTime();
      const auto& [recent, total] = *snapshots;
      LayerWindows windows{.total = total->Sum(), .since_start = total->SumSinceStart()};
      if (recent.has_value()) windows.recent = recent->Sum();
      windows.sum_time = ThreadTime() - begin;
      done(std::move(windows));
    });
  };
  RunOnWorker(read, done);
}

void ExpertUsageReader::Summarize(UsageWindow window, SummaryCallback done) {
  if (absl::Status status = CheckWindow(window); !status.ok()) return done(std::move(status));
  parts_.sums->Run([=, this] {
    const absl::Time now = parts_.clock->Now();
    Summaries& mine = summaries(window);
    if (mine.latest != nullptr && now - mine.latest->time < kMaxAge) return done(mine.latest);
    mine.waiting.push_back(done);
    if (mine.waiting.size() > 1) return;  // it is being made
    mine.next = {.time = now};
    Continue(window);
  });
}

void ExpertUsageReader::Continue(UsageWindow window) {
  const size_t layer = summaries(window).next.layers.size();
  if (layer == parts_.engine->model().expert_layers.size()) return Publish(window);
  Read(static_cast<int>(layer), window, [=, this](absl::StatusOr<ExpertUsage> usage) {
    if (!usage.ok()) return Fail(window, usage.status());
    const ExpertLayer& shape = parts_.engine->model().expert_layers[layer];
    summaries(window).next.layers.push_back({usage->tokens, FiguresOf(shape, *usage)});
    Continue(window);
  });
}

void ExpertUsageReader::Publish(UsageWindow window) {
  Summaries& mine = summaries(window);
  mine.latest = std::make_shared<const ExpertSummary>(std::move(mine.next));
  for (const SummaryCallback& done : std::exchange(mine.waiting, {})) done(mine.latest);
}

void ExpertUsageReader::Fail(UsageWindow window, const absl::Status& status) {
  for (const SummaryCallback& done : std::exchange(summaries(window).waiting, {})) done(status);
}

void ExpertUsageReader::Reset(StatusCallback done) {
  if (absl::Status status = CheckWindow(UsageWindow::kTotal); !status.ok()) {
    return done(std::move(status));
  }
  const auto reset = [=, this](absl::Time now) {
    parts_.statistics->Reset(now);
    parts_.sums->Run([=, this] {
      summaries(UsageWindow::kTotal).latest = nullptr;
      done(absl::OkStatus());
    });
  };
  RunOnWorker(reset, done);
}

}  // namespace peerage
