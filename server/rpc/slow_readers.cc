#include "server/rpc/slow_readers.h"

#include <grpc/grpc.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/engine/retry_delay.h"

namespace peerage {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);
// While there is too much: an honest client is given so long at least, too.
constexpr absl::Duration kCrowdedInterval = absl::Milliseconds(250);

}  // namespace

SlowReaders::Call::Call(std::shared_ptr<SlowReaders> readers, std::string method)
    : readers_(std::move(readers)),
      method_(std::move(method)),
      budget_(readers_->limits_.patience) {
  absl::MutexLock lock(&readers_->mu_);
  readers_->calls_.insert(this);
}

SlowReaders::Call::~Call() {
  absl::MutexLock lock(&readers_->mu_);
  readers_->calls_.erase(this);
}

void SlowReaders::Call::OnWrite(grpc_call* call, size_t bytes) {
  absl::MutexLock lock(&mu_);
  call_ = call;
  budget_.Begin(readers_->clock_->Now(), bytes);
}

void SlowReaders::Call::OnWritten() {
  absl::MutexLock lock(&mu_);
  budget_.End(readers_->clock_->Now());
}

bool SlowReaders::Call::ended() const {
  absl::MutexLock lock(&mu_);
  return ended_;
}

void SlowReaders::Start(BackgroundLane* lane) { LookLater(lane); }

void SlowReaders::Stop() {
  absl::MutexLock lock(&stop_mu_);
  stopped_ = true;
}

void SlowReaders::LookLater(BackgroundLane* lane) {
  const absl::Duration interval = IsCrowded() ? kCrowdedInterval : kInterval;
  lane->RunAt(clock_->Now() + interval, [weak = weak_from_this(), lane] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    absl::MutexLock lock(&self->stop_mu_);
    if (self->stopped_) return;
    self->Look();
    self->LookLater(lane);
  });
}

void SlowReaders::Look() {
  const absl::Time now = clock_->Now();
  End(TakeLate(now), absl::ResourceExhaustedError("the reader is too slow"));
  if (!IsCrowded()) return;
  End(TakeLongest(now),
      absl::ResourceExhaustedError(
          "the reader is too slow: others' answers wait for the memory that it holds"));
}

template <typename Condition>
std::vector<SlowReaders::Ending> SlowReaders::Take(Condition condition) {
  std::vector<Ending> taken;
  for (Call* call : calls_) {
    absl::MutexLock lock(&call->mu_);
    if (call->ended_ || call->call_ == nullptr || !condition(call->budget_)) continue;
    call->ended_ = true;
    grpc_call_ref(call->call_);
    taken.push_back({call->call_, call->method_, call->budget_.waits_since()});
  }
  return taken;
}

std::vector<SlowReaders::Ending> SlowReaders::TakeLate(absl::Time now) {
  absl::MutexLock lock(&mu_);
  return Take([now](const ReadingBudget& budget) { return budget.end() <= now; });
}

std::vector<SlowReaders::Ending> SlowReaders::TakeLongest(absl::Time now) {
  absl::MutexLock lock(&mu_);
  std::vector<absl::Time> waiting;
  for (Call* call : calls_) {
    absl::MutexLock call_lock(&call->mu_);
    const absl::Time since = call->budget_.waits_since();
    if (!call->ended_ && since <= now - kCrowdedInterval) waiting.push_back(since);
  }
  if (waiting.empty()) return {};
  const auto middle = waiting.begin() + static_cast<ptrdiff_t>((waiting.size() - 1) / 2);
  std::nth_element(waiting.begin(), middle, waiting.end());
  return Take(
      [longest = *middle](const ReadingBudget& budget) { return budget.waits_since() <= longest; });
}

// Without the locks: gRPC may call back.
void SlowReaders::End(const std::vector<Ending>& calls, const absl::Status& reason) const {
  for (const Ending& ending : calls) {
    grpc_call_cancel_with_status(ending.call, static_cast<grpc_status_code>(reason.code()),
                                 std::string(reason.message()).c_str(), nullptr);
    grpc_call_unref(ending.call);
    const absl::Duration waited = clock_->Now() - ending.waits_since;
    log_->WriteLimited(
        "slow_reader", LogLevel::kWarn, "call ended: the reader is too slow",
        {{"method", ending.method}, {"waited_seconds", waited}, {"unsent_bytes", unsent_.total()}});
  }
}

absl::Status SlowReaders::CheckRoom() const {
  const int64_t total = unsent_.total();
  if (total < limits_.max_unsent_bytes) return absl::OkStatus();
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("clients have not taken ", total, " bytes of answers yet"));
  SetRetryDelay(status, kRetrySoon);
  return status;
}

}  // namespace peerage
