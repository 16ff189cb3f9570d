#pragma once

#include <prometheus/collectable.h>

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/clock.h"

namespace peerage {

// The content type of TextExposition.
inline constexpr char kTextExpositionType[] = "text/plain; version=0.0.4; charset=utf-8";

// Every series of all collectables in Prometheus' text exposition format 0.0.4.
std::string TextExposition(absl::Span<const prometheus::Collectable* const> collectables);

// A text that is given out again while it is young: who scrapes a thousand times a second has it
// written ten times, and takes no time from the engine.
//
// Threads: safe from many.
class YoungText {
 public:
  static constexpr absl::Duration kMaxAge = absl::Milliseconds(100);

  explicit YoungText(const Clock* clock) : clock_(*clock) {}

  // What `write` gave less than kMaxAge ago, or gives now; others wait for it.
  std::string Get(absl::FunctionRef<std::string()> write);

 private:
  const Clock& clock_;
  absl::Mutex mu_;
  absl::Time written_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  std::string text_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
