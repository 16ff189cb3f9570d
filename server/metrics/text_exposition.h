#pragma once

#include <prometheus/collectable.h>

#include <string>

#include "absl/types/span.h"

namespace peerage {

// The content type of TextExposition.
inline constexpr char kTextExpositionType[] = "text/plain; version=0.0.4; charset=utf-8";

// Every series of all collectables in Prometheus' text exposition format 0.0.4.
std::string TextExposition(absl::Span<const prometheus::Collectable* const> collectables);

}  // namespace peerage
