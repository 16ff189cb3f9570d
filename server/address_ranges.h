#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ip_address.h"

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
  struct Range {
    IpAddress first;
    int prefix_bits = 0;  // of its 128
  };

  static absl::StatusOr<Range> ParseRange(absl::string_view text);

  std::vector<Range> ranges_;
  bool unix_ = false;
};

}  // namespace peerage
