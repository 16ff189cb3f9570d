#include "server/identity/principal.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace peerage {

absl::Status CheckPrincipalName(absl::string_view name) {
  constexpr size_t kMostBytes = 128;  // as many as a tenant's name has
  const bool printable =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
  if (name.empty() || name.size() > kMostBytes || !printable) {
    return absl::InvalidArgumentError(
        "the name is not 1 to 128 printable ASCII characters without blanks");
  }
  if (name == kAnonymous || name == kAnyPrincipal) {
    return absl::InvalidArgumentError("the name is not for anybody: \"anonymous\" and \"*\"");
  }
  return absl::OkStatus();
}

}  // namespace peerage
