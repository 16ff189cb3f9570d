#include "server/rpc/client_address.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace peerage {
namespace {

TEST(IsLocalClientTest, TellsThisMachineFromOthers) {
  struct Case {
    std::string peer;
    bool local;
  };
  const std::vector<Case> cases = {
      {"ipv4:127.0.0.1:4711", true},
      {"ipv4:127.9.9.9:1", true},
      {"ipv4:128.0.0.1:4711", false},
      {"ipv4:10.127.0.1:4711", false},
      {"ipv4:12.7.0.1:4711", false},
      {"ipv6:[::1]:4711", true},
      {"ipv6:[::ffff:127.0.0.1]:4711", true},
      {"ipv6:[::12]:4711", false},
      {"ipv6:[2001:db8::1]:4711", false},
      {"ipv6:[::ffff:10.0.0.1]:4711", false},
      {"unix:/run/peerage.sock", true},
      {"unix-abstract:peerage", true},
      {"unknown", false},
      {"vsock:1:2", false},
      {"", false},
  };
  for (const Case& c : cases) EXPECT_EQ(IsLocalClient(c.peer), c.local) << c.peer;
}

// A host of IPv6 is its /64, however gRPC writes it.
TEST(PlainAddressTest, HasBracketsAsTheyAre) {
  EXPECT_EQ(PlainAddress("ipv6:%5B2001:db8::1%5D:5000"), "ipv6:[2001:db8::1]:5000");
  EXPECT_EQ(PlainAddress("ipv6:[2001:db8::1]:5000"), "ipv6:[2001:db8::1]:5000");
  EXPECT_EQ(PlainAddress("ipv4:127.0.0.1:1"), "ipv4:127.0.0.1:1");
}

}  // namespace
}  // namespace peerage
