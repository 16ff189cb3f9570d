#include "server/identity/principal.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace peerage {

absl::Status CheckPrincipalName(absl::string_view name) {
  constexpr size_t kMostBytes = 128;         // as many as a tenant's name has
  constexpr size_t kMostSpiffeBytes = 2048;  // SPIFFE ID, section 2.3
  const size_t most = absl::StartsWith(name, "spiffe://") ? kMostSpiffeBytes : kMostBytes;
  const bool printable =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
  if (name.empty() || name.size() > most || !printable) {
    return absl::InvalidArgumentError(
        "the name is not 1 to 128 printable ASCII characters without blanks, nor a SPIFFE id of at "
        "most 2,048");
  }
  if (name == kAnonymous || name == kAnyPrincipal) {
    return absl::InvalidArgumentError("the name is not for anybody: \"anonymous\" and \"*\"");
  }
  return absl::OkStatus();
}

}  // namespace peerage
