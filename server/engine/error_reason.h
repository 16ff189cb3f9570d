#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Why a request failed where its code alone does not tell, for programs: in capitals, as in
// "SLOW_READER". It travels with the status to whoever is told.
void SetErrorReason(absl::Status& status, absl::string_view reason);
// Empty: the usual reason of its code.
std::string ErrorReasonOf(const absl::Status& status);

// The client does not take what was computed for it; trying again would not help.
inline constexpr char kSlowReader[] = "SLOW_READER";

// Of the payload that holds it, which is for nobody else.
extern const char kErrorReasonUrl[];

}  // namespace peerage
