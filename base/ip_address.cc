#include "base/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace peerage {
namespace {

constexpr std::array<uint8_t, 12> kIpv4Within = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

bool IpAddress::is_ipv4() const {
  return std::equal(kIpv4Within.begin(), kIpv4Within.end(), bytes.begin());
}

bool IpAddress::is_loopback() const {
  if (is_ipv4()) return bytes[kIpv4Within.size()] == IN_LOOPBACKNET;
  return std::equal(bytes.begin(), bytes.end(), in6addr_loopback.s6_addr);
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_ipv4()) {
    inet_ntop(AF_INET, &bytes[kIpv4Within.size()], text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, bytes.data(), text, sizeof(text));
  }
  return text;
}

std::optional<IpAddress> ParseIpAddress(absl::string_view text) {
  if (absl::StrContains(text, '\0')) return std::nullopt;  // it would end there
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  std::copy(kIpv4Within.begin(), kIpv4Within.end(), address.bytes.begin());
  if (inet_pton(AF_INET, terminated.c_str(), &address.bytes[kIpv4Within.size()]) == 1) {
    return address;
  }
  return std::nullopt;
}

std::optional<IpAddress> IpAddressOfPeer(absl::string_view peer) {
  const bool is_ipv4 = absl::ConsumePrefix(&peer, "ipv4:");
  if (!is_ipv4 && !absl::ConsumePrefix(&peer, "ipv6:")) return std::nullopt;
  peer = peer.substr(0, peer.rfind(':'));
  const bool has_brackets = absl::ConsumePrefix(&peer, "[") && absl::ConsumeSuffix(&peer, "]");
  if (has_brackets == is_ipv4) return std::nullopt;
  return ParseIpAddress(peer);
}

bool IsLoopback(absl::string_view host) {
  const std::optional<IpAddress> address = ParseIpAddress(host);
  return address ? address->is_loopback() : absl::EqualsIgnoreCase(host, "localhost");
}

}  // namespace peerage
