#include "server/rpc/request/trace_parent.h"

namespace peerage {
namespace {

// "00-" trace "-" span "-" flags
constexpr size_t kTraceDigits = 32;
constexpr size_t kSpanDigits = 16;
constexpr size_t kTraceAt = 3;
constexpr size_t kSpanAt = kTraceAt + kTraceDigits + 1;
constexpr size_t kFlagsAt = kSpanAt + kSpanDigits + 1;
constexpr size_t kLength = kFlagsAt + 2;

bool IsLowerHex(absl::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

bool IsZero(absl::string_view digits) {
  return digits.find_first_not_of('0') == absl::string_view::npos;
}

bool IsVersion(absl::string_view version, absl::string_view rest) {
  if (!IsLowerHex(version) || version == "ff") return false;
  return rest.empty() || (version != "00" && rest[0] == '-');
}

}  // namespace

std::optional<TraceParent> ParseTraceParent(absl::string_view header) {
  if (header.size() < kLength) return std::nullopt;
  for (const size_t dash : {kTraceAt - 1, kSpanAt - 1, kFlagsAt - 1}) {
    if (header[dash] != '-') return std::nullopt;
  }
  const absl::string_view trace = header.substr(kTraceAt, kTraceDigits);
  const absl::string_view span = header.substr(kSpanAt, kSpanDigits);
  if (!IsVersion(header.substr(0, kTraceAt - 1), header.substr(kLength)) || !IsLowerHex(trace) ||
      !IsLowerHex(span) || !IsLowerHex(header.substr(kFlagsAt, 2)) || IsZero(trace) ||
      IsZero(span)) {
    return std::nullopt;
  }
  return TraceParent{std::string(trace), std::string(span)};
}

}  // namespace peerage
