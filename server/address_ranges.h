#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Some of the addresses that callers may have. Threads: immutable.
class AddressRanges {
 public:
  // "10.0.0.0/8,192.168.1.7,2001:db8::/32,unix": networks and single addresses, and whoever comes
  // by a Unix socket. Empty: nobody. INVALID_ARGUMENT names what is no address.
  static absl::StatusOr<AddressRanges> Parse(absl::string_view text);

  // Whether this is one of them: "ipv4:10.0.0.1:4711", "ipv6:[::1]:4711" or "unix:". An IPv4
  // address within IPv6 is the same one.
  bool Contain(absl::string_view address) const;

 private:
  // Of IPv6, where those of IPv4 have their place (RFC 4291, section 2.5.5.2).
  using Bytes = std::array<uint8_t, 16>;
  struct Range {
    Bytes first = {};
    int prefix_bits = 0;
  };

  static absl::StatusOr<Range> ParseRange(absl::string_view text);

  std::vector<Range> ranges_;
  bool unix_ = false;
};

}  // namespace peerage
