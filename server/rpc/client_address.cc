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
  if (door == nullptr) return {.address = PlainAddress(peer)};
  absl::string_view name = peer;
  absl::ConsumePrefix(&name, "unix-abstract:");
  return door->Find(name).value_or(ConnectionInfo());
}

std::string PlainAddress(absl::string_view peer) {
  return absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}});
}

bool IsLocalClient(absl::string_view address) {
  if (absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:"))
    return true;
  const std::optional<IpAddress> ip = IpAddressOfPeer(address);
  return ip && ip->is_loopback();
}

}  // namespace peerage
