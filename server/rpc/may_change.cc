#include "server/rpc/may_change.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/client_address.h"
#include "server/rpc/request/call_context.h"

namespace peerage {
namespace {

// By RFC 7239 and RFC 9110, section 7.6.3, and by custom. gRPC's names are in lower case.
bool CameThroughProxy(const grpc::ServerContextBase& context) {
  for (const auto& [key, value] : context.client_metadata()) {
    const absl::string_view name(key.data(), key.size());
    if (name == "forwarded" || name == "via" || name == "x-real-ip" ||
        absl::StartsWith(name, "x-forwarded-")) {
      return true;
    }
  }
  return false;
}

}  // namespace

absl::Status CheckMayChange(const grpc::ServerContextBase& context, const Door* door,
                            absl::string_view method) {
  if (PassageOf(context).visitor != nullptr) return absl::OkStatus();
  if (IsLocalClient(ClientAddress(context, door)) && !CameThroughProxy(context)) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(
      absl::StrCat(method, " is for callers on the server's own machine"));
}

}  // namespace peerage
