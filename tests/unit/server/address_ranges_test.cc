#include "server/address_ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

bool Contain(absl::string_view ranges, absl::string_view address) {
  const absl::StatusOr<AddressRanges> parsed = AddressRanges::Parse(ranges);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() && parsed->Contain(address);
}

TEST(AddressRangesTest, AreNetworksAndSingleAddresses) {
  const char* ranges = "10.0.0.0/8,192.168.1.7,2001:db8::/33,::1";
  for (const char* inside :
       {"ipv4:10.0.0.0:1", "ipv4:10.255.255.255:65535", "ipv4:192.168.1.7:80", "ipv6:[::1]:1",
        "ipv6:[2001:db8:7fff::1]:1", "ipv6:[::ffff:10.1.2.3]:1"}) {
    EXPECT_TRUE(Contain(ranges, inside)) << inside;
  }
  for (const char* outside :
       {"ipv4:11.0.0.0:1", "ipv4:9.255.255.255:1", "ipv4:192.168.1.8:1", "ipv6:[::2]:1",
        "ipv6:[2001:db8:8000::1]:1", "ipv6:[::ffff:11.1.2.3]:1", "unix:", "", "10.0.0.1:1"}) {
    EXPECT_FALSE(Contain(ranges, outside)) << outside;
  }
}

TEST(AddressRangesTest, MayBeNobodyEverybodyAndThoseOfUnixSockets) {
  EXPECT_FALSE(Contain("", "ipv4:127.0.0.1:1"));
  EXPECT_FALSE(Contain("", "unix:"));
  EXPECT_TRUE(Contain("unix", "unix:"));
  EXPECT_FALSE(Contain("unix", "ipv4:127.0.0.1:1"));
  EXPECT_TRUE(Contain("0.0.0.0/0", "ipv4:127.0.0.1:1"));
  EXPECT_FALSE(Contain("0.0.0.0/0", "ipv6:[::1]:1"));
  EXPECT_TRUE(Contain("::/0,unix", "ipv4:127.0.0.1:1"));
}

TEST(AddressRangesTest, SayWhatIsNone) {
  for (const std::string wrong :
       {"10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/+8", "proxy",
        "10.0.0.0/8,", ",", "10.0.0", "[::1]", "10.0.0.1:80", " 10.0.0.1"}) {
    const auto parsed = AddressRanges::Parse(wrong);
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << wrong;
    EXPECT_THAT(std::string(parsed.status().message()), ::testing::HasSubstr("10.0.0.0/8"));
  }
}

}  // namespace
}  // namespace peerage
