#include "server/engine/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace peerage {
namespace {

class SteadyClock final : public Clock {
 public:
  absl::Time Now() const override {
    return start_ + absl::FromChrono(std::chrono::steady_clock::now() - steady_start_);
  }

 private:
  const absl::Time start_ = absl::Now();
  const std::chrono::steady_clock::time_point steady_start_ = std::chrono::steady_clock::now();
};

}  // namespace

void Clock::Wait(absl::CondVar& signal, absl::Mutex& mu, absl::Time until) const {
  signal.WaitWithTimeout(&mu, until - Now());
}

const Clock& Clock::Real() {
  static const SteadyClock clock;
  return clock;
}

}  // namespace peerage
