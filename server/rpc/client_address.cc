#include "server/rpc/client_address.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace peerage {

bool IsLocalClient(absl::string_view peer) {
  if (absl::StartsWith(peer, "unix:") || absl::StartsWith(peer, "unix-abstract:")) return true;
  if (absl::ConsumePrefix(&peer, "ipv4:")) return absl::StartsWith(peer, "127.");
  if (!absl::ConsumePrefix(&peer, "ipv6:")) return false;
  // gRPC writes the brackets as they are or percent-encoded, depending on its version.
  const std::string address = absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}});
  return absl::StartsWith(address, "[::1]") || absl::StartsWith(address, "[::ffff:127.");
}

}  // namespace peerage
