#include "server/rpc/client_address.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
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
  if (absl::ConsumePrefix(&address, "ipv4:")) return absl::StartsWith(address, "127.");
  if (!absl::ConsumePrefix(&address, "ipv6:")) return false;
  // gRPC writes the brackets as they are or percent-encoded, depending on its version.
  const std::string plain = absl::StrReplaceAll(address, {{"%5B", "["}, {"%5D", "]"}});
  return absl::StartsWith(plain, "[::1]") || absl::StartsWith(plain, "[::ffff:127.");
}

}  // namespace peerage
