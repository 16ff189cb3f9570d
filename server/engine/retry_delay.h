#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace peerage {

// When whoever was refused may try again with a fair chance; travels with the refusal.
void SetRetryDelay(absl::Status& status, absl::Duration delay);
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

// Where others are done with what is short in a moment.
inline constexpr absl::Duration kRetrySoon = absl::Seconds(1);

// Of the payload that holds it, which is for nobody else.
extern const char kRetryDelayUrl[];

}  // namespace peerage
