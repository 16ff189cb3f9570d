#include "client/bench/load_run.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/call_status.h"

namespace peerage::client {
namespace {

constexpr absl::Duration kProgressEvery = absl::Milliseconds(100);

bool IsRefusedForNow(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
}

// What the server asks for, or a while that doubles.
absl::Duration WaitBeforeRetry(const absl::Status& status, uint32_t retries) {
  const absl::Duration own = absl::Milliseconds(100) * (1 << std::min(retries, 6U));
  return RetryDelay(status).value_or(own);
}

}  // namespace

LoadRun::LoadRun(const LoadRunOptions& options, Calls& calls)
    : options_(options),
      calls_(calls),
      pacer_(options.traffic, Arrivals(options.traffic, options.count, options.seed)) {}

RunRecords LoadRun::Run(const std::function<void(size_t ended)>& on_progress) {
  Loop(on_progress);
  absl::MutexLock lock(&mu_);
  RunRecords result{.calls = std::move(records_)};
  for (const CallRecord& record : result.calls) {
    result.duration = std::max(result.duration, record.ended);
  }
  if (stopped_) {
    const auto cut = [](const CallRecord& record) { return absl::IsCancelled(record.status); };
    result.calls.erase(std::remove_if(result.calls.begin(), result.calls.end(), cut),
                       result.calls.end());
  }
  result.unfinished = options_.count - result.calls.size();
  std::sort(result.calls.begin(), result.calls.end(),
            [](const auto& a, const auto& b) { return a.begun.call < b.begun.call; });
  return result;
}

void LoadRun::Loop(const std::function<void(size_t ended)>& on_progress) {
  absl::Duration shown;
  while (true) {
    std::optional<DueCall> call;
    size_t ended = 0;
    {
      absl::MutexLock lock(&mu_);
      if (pacer_.done()) return;
      call = pacer_.TakeDue(clock_.Now());
      if (!call.has_value()) {
        const absl::Duration wait = std::min(pacer_.NextDue() - clock_.Now(), kProgressEvery);
        changed_.WaitWithTimeout(&mu_, std::max(wait, absl::ZeroDuration()));
      }
      ended = records_.size();
    }
    if (call.has_value()) Begin(*call);
    if (clock_.Now() - shown < kProgressEvery) continue;
    shown = clock_.Now();
    on_progress(ended);
  }
}

void LoadRun::Begin(const DueCall& call) {
  DueCall numbered = call;
  numbered.call += options_.first_call;
  calls_.Start(numbered, clock_, [this](CallRecord record) { End(std::move(record)); });
}

void LoadRun::End(CallRecord record) {
  record.begun.call -= options_.first_call;
  absl::MutexLock lock(&mu_);
  DueCall& call = record.begun;
  if (!stopped_ && IsRefusedForNow(record.status) && call.retries < options_.retries) {
    const absl::Duration wait = WaitBeforeRetry(record.status, call.retries);
    ++call.retries;
    pacer_.Retry(call, record.ended + wait);
  } else {
    pacer_.End(record.ended);
    records_.push_back(std::move(record));
  }
  changed_.Signal();
}

void LoadRun::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    pacer_.Stop();
  }
  calls_.Cancel();
}

}  // namespace peerage::client
