#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

// An IPv6 address. Those of IPv4 have their place among them (RFC 4291, section 2.5.5.2), so both
// ways to write one are the same address.
struct IpAddress {
  std::array<uint8_t, 16> bytes = {};

  bool is_ipv4() const;
  bool is_loopback() const;  // of this machine, by itself alone
  // "10.0.0.1" or "2001:db8::1".
  std::string ToString() const;
};

// Of "10.0.0.1", "2001:db8::1" or "::ffff:10.0.0.1"; nullopt when it is none of those.
std::optional<IpAddress> ParseIpAddress(absl::string_view text);

// Of a peer as gRPC names it: "ipv4:10.0.0.1:4711" or "ipv6:[2001:db8::1]:4711".
std::optional<IpAddress> IpAddressOfPeer(absl::string_view peer);

// Whether a host, named or by its address, is this machine by itself alone. A name that begins like
// a number may lead anywhere, and so may all names but "localhost".
bool IsLoopback(absl::string_view host);

}  // namespace peerage
