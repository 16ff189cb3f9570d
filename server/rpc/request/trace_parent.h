#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

// The caller's span in a distributed trace: lower-case hex.
struct TraceParent {
  std::string trace_id;  // 32 digits
  std::string span_id;   // 16 digits
};

// Reads a `traceparent` header (https://www.w3.org/TR/trace-context, section 3.2). Nothing for what
// is none by its grammar, or names no trace or span (all zero). Versions to come may append fields.
std::optional<TraceParent> ParseTraceParent(absl::string_view header);

}  // namespace peerage
