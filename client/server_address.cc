#include "client/server_address.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/error_text.h"
#include "base/ip_address.h"

namespace peerage::client {
namespace {

absl::Status Refuse(const std::string& address, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(address), " is no address of a server: ", why));
}

bool IsPort(absl::string_view text) {
  uint32_t port = 0;
  return absl::SimpleAtoi(text, &port) && port >= 1 && port <= 65535;
}

}  // namespace

absl::Status CheckServerAddress(const std::string& address) {
  for (const char* target : {"unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:"}) {
    if (absl::StartsWith(address, target)) return absl::OkStatus();
  }
  if (absl::StrContains(address, "://")) return Refuse(address, "it is HOST:PORT, not a URL");
  const size_t colon = address.rfind(':');
  if (address.empty() || colon == std::string::npos) return Refuse(address, "it is HOST:PORT");
  const absl::string_view host = absl::string_view(address).substr(0, colon);
  if (host.empty()) return Refuse(address, "it is HOST:PORT, the host is missing");
  if (!IsPort(absl::string_view(address).substr(colon + 1))) {
    return Refuse(address, "it is HOST:PORT, the port a number from 1 to 65535");
  }
  const bool bracketed = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  if (absl::StrContains(host, ":") && !bracketed) {
    return Refuse(address, "an IPv6 address stands in brackets, as [::1]:50051 does");
  }
  if (host.find_first_of(" \t\r\n/@") != host.npos) return Refuse(address, "it is HOST:PORT");
  return absl::OkStatus();
}

bool IsOnThisMachine(const std::string& address) {
  if (absl::StartsWith(address, "unix")) return true;
  absl::string_view rest = address;
  for (const char* target : {"dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&rest, target)) break;
  }
  while (absl::ConsumePrefix(&rest, "/")) {
  }
  absl::string_view host = rest.substr(0, rest.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return IsLoopback(host);
}

}  // namespace peerage::client
