#include "client/server_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace peerage::client {
namespace {

TEST(ServerAddressTest, TakesHostsWithPortsAndTargets) {
  for (const char* address : {"127.0.0.1:50051", "localhost:1", "[::1]:65535", "a-host.example:80",
                              "unix:/run/peerage.sock", "dns:///a:1", "ipv4:127.0.0.1:1"}) {
    EXPECT_TRUE(CheckServerAddress(address).ok()) << address;
  }
}

TEST(ServerAddressTest, RefusesWhatAResolverWouldPuzzleOver) {
  const struct {
    const char* address;
    const char* why;
  } cases[] = {
      {"http://127.0.0.1:50051", "it is HOST:PORT, not a URL"},
      {"grpc://a:1", "it is HOST:PORT, not a URL"},
      {"", "it is HOST:PORT"},
      {"localhost", "it is HOST:PORT"},
      {":50051", "it is HOST:PORT, the host is missing"},
      {"localhost:", "it is HOST:PORT, the port a number from 1 to 65535"},
      {"localhost:0", "it is HOST:PORT, the port a number from 1 to 65535"},
      {"localhost:65536", "it is HOST:PORT, the port a number from 1 to 65535"},
      {"localhost:grpc", "it is HOST:PORT, the port a number from 1 to 65535"},
      {"::1:50051", "an IPv6 address stands in brackets, as [::1]:50051 does"},
      {"a b:1", "it is HOST:PORT"},
  };
  for (const auto& [address, why] : cases) {
    EXPECT_EQ(CheckServerAddress(address).message(),
              "\"" + std::string(address) + "\" is no address of a server: " + why);
  }
}

TEST(ServerAddressTest, KnowsWhatIsOnThisMachine) {
  for (const char* address : {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/a",
                              "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1"}) {
    EXPECT_TRUE(IsOnThisMachine(address)) << address;
  }
  for (const char* address :
       {"10.0.0.1:1", "localhost.example:1", "a:1", "[::2]:1", "dns:///a:1", "127.example.com:1",
        "dns://127.0.0.1/a:1", "ipv4:127.0.0.1:1,10.0.0.1:1"}) {
    EXPECT_FALSE(IsOnThisMachine(address)) << address;
  }
}

}  // namespace
}  // namespace peerage::client
