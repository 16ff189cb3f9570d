#include "server/rpc/client_address.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/ip_address.h"
#include "server/door/door.h"

namespace peerage {

ConnectionInfo ClientOf(const grpc::ServerContextBase& context, const Door* door) {
  const std::string peer = context.peer();
  if (door == nullptr) return {.address = peer};
  absl::string_view name = peer;
  absl::ConsumePrefix(&name, "unix-abstract:");
  return door->Find(name).value_or(ConnectionInfo());
}

bool IsLocalClient(absl::string_view address) {
  if (absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:"))
    return true;
  // gRPC writes the brackets as they are or percent-encoded, depending on its version.
  const std::string plain = absl::StrReplaceAll(address, {{"%5B", "["}, {"%5D", "]"}});
  const std::optional<IpAddress> ip = IpAddressOfPeer(plain);
  return ip && ip->is_loopback();
}

}  // namespace peerage
