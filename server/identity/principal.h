#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Who calls: what a policy gives permissions to, and a tenant's name by default.

// Whoever shows nothing, and the entry of a policy for everybody known that it does not name.
inline constexpr char kAnonymous[] = "anonymous";
inline constexpr char kAnyPrincipal[] = "*";

// Whether somebody can be called that: 1 to 128 printable ASCII characters without blanks, up to
// 2,048 of a SPIFFE id ("spiffe://..."), and neither of the names above. The error does not repeat
// the name.
absl::Status CheckPrincipalName(absl::string_view name);

}  // namespace peerage
