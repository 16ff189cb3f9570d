#include "server/experts/expert_usage_reader.h"

#include <atomic>
#include <utility>
#include <variant>

#include "absl/types/span.h"
#include "base/status_macros.h"
#include "server/engine/inbox.h"

namespace peerage {
namespace {

constexpr absl::Duration kMaxAge = absl::Seconds(1);  // of a summary that is given out again

using WindowSnapshots = std::array<std::optional<UsageSnapshot>, 2>;  // by UsageWindow

// Of a window that is kept.
std::optional<UsageSnapshot> JoinWindow(absl::Span<const WindowSnapshots> workers,
                                        UsageWindow window) {
  std::vector<UsageSnapshot> snapshots;
  for (const WindowSnapshots& worker : workers) {
    const auto& snapshot = worker[static_cast<size_t>(window)];
    if (snapshot.has_value()) snapshots.push_back(*snapshot);
  }
  if (snapshots.empty()) return std::nullopt;
  return UsageSnapshot::Join(snapshots);
}

// A part from each of some threads. Threads: Put is safe from many; parts once they are complete.
template <typename Part>
class Gathered {
 public:
  explicit Gathered(int count) : parts_(count), missing_(count) {}

  // True for the last one.
  bool Put(int index, Part part) {
    parts_[index] = std::move(part);
    return --missing_ == 0;
  }

  absl::Span<const Part> parts() const { return parts_; }

 private:
  std::vector<Part> parts_;
  std::atomic<int> missing_;
};

}  // namespace

absl::Status ExpertUsageReader::CheckWindow(UsageWindow window) const {
  const ExpertUsageMode mode = parts_.statistics.front()->mode();
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

absl::Status ExpertUsageReader::CheckRoom() const {
  return parts_.refuses ? parts_.engine->CheckTaskRoom() : absl::OkStatus();
}

absl::Status ExpertUsageReader::CheckRead(UsageWindow window) const {
  RETURN_IF_ERROR(CheckWindow(window));
  return CheckRoom();
}

template <typename Part, typename ReadPart, typename TellAll>
void ExpertUsageReader::ReadWorkers(ReadPart read, TellAll all, const StatusCallback& fail) {
  const int workers = parts_.engine->num_workers();
  const auto gathered = std::make_shared<Gathered<Part>>(workers);
  const absl::Status accepted = parts_.engine->RunOnWorkers([=, this](int worker, absl::Time now) {
    if (!gathered->Put(worker, read(*parts_.statistics[worker], now))) return;
    const absl::Status lost = parts_.engine->status().lost;
    parts_.sums->Run([=] {
      if (!lost.ok()) return fail(lost);
      all(gathered->parts());
    });
  });
  if (!accepted.ok()) fail(accepted);
}

void ExpertUsageReader::Read(int expert_layer, UsageWindow window, const UsageCallback& done) {
  if (absl::Status status = CheckRead(window); !status.ok()) return done(std::move(status));
  ReadLayer(expert_layer, window, done);
}

void ExpertUsageReader::ReadLayer(int expert_layer, UsageWindow window, const UsageCallback& done) {
  ReadWorkers<UsageSnapshot>(
      [=](ExpertStatistics& statistics, absl::Time now) {
        return statistics.Snapshot(expert_layer, window, now);
      },
      [=](absl::Span<const UsageSnapshot> snapshots) {
        done(UsageSnapshot::Join(snapshots).Sum());
      },
      done);
}

void ExpertUsageReader::ReadWindows(int expert_layer, const WindowsCallback& done) {
  if (absl::Status status = CheckRead(UsageWindow::kTotal); !status.ok()) {
    return done(std::move(status));
  }
  ReadWorkers<WindowSnapshots>(
      [=](ExpertStatistics& statistics, absl::Time now) {
        return statistics.Snapshots(expert_layer, now);
      },
      [=](absl::Span<const WindowSnapshots> snapshots) {
        const absl::Duration begin = ThreadTime();
        const UsageSnapshot total = *JoinWindow(snapshots, UsageWindow::kTotal);
        LayerWindows windows{.total = total.Sum(), .since_start = total.SumSinceStart()};
        const auto recent = JoinWindow(snapshots, UsageWindow::kRecent);
        if (recent.has_value()) windows.recent = recent->Sum();
        windows.sum_time = ThreadTime() - begin;
        done(std::move(windows));
      },
      done);
}

void ExpertUsageReader::Summarize(UsageWindow window, const SummaryCallback& done) {
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
  ReadLayer(static_cast<int>(layer), window, [=, this](absl::StatusOr<ExpertUsage> usage) {
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
  absl::Status status = CheckWindow(UsageWindow::kTotal);
  if (status.ok()) {
    absl::MutexLock lock(&mu_);
    const bool has_room = next_reset_.size() < Inbox::kMostErrands;
    if (resetting_ && has_room) return next_reset_.push_back(std::move(done));
    status = resetting_ ? Inbox::TooManyErrands() : CheckRoom();
    resetting_ = resetting_ || status.ok();
  }
  if (!status.ok()) return done(std::move(status));
  StartReset({std::move(done)});
}

void ExpertUsageReader::StartReset(std::vector<StatusCallback> done) {
  const auto all = std::make_shared<const std::vector<StatusCallback>>(std::move(done));
  ReadWorkers<std::monostate>(
      [](ExpertStatistics& statistics, absl::Time now) {
        statistics.Reset(now);
        return std::monostate();
      },
      [=, this](absl::Span<const std::monostate>) {
        summaries(UsageWindow::kTotal).latest = nullptr;
        EndReset(*all, absl::OkStatus());
      },
      [=, this](const absl::Status& status) { EndReset(*all, status); });
}

// The next one begins first: whoever hears of this one may ask for another.
void ExpertUsageReader::EndReset(const std::vector<StatusCallback>& done,
                                 const absl::Status& status) {
  std::vector<StatusCallback> next;
  {
    absl::MutexLock lock(&mu_);
    next.swap(next_reset_);
    resetting_ = !next.empty();
  }
  if (!next.empty()) StartReset(std::move(next));
  for (const StatusCallback& tell : done) tell(status);
}

}  // namespace peerage
