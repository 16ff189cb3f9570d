#include "server/transport_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/config.h"

namespace peerage {
namespace {

std::string TransportErrorOf(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "--model=m.gguf");
  const auto command_line = ParseCommandLine(arguments, {});
  return command_line.ok() ? "" : std::string(command_line.status().message());
}

TEST(TransportCheckTest, PlaintextStaysOnThisMachineUnlessItIsMeant) {
  for (const char* local :
       {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/run/p.sock"}) {
    EXPECT_EQ(TransportErrorOf({"--listen", local}), "") << local;
  }
  for (const char* open :
       {"0.0.0.0:1", "10.0.0.1:1", "[::]:1", "models.example.org:1", "127.example.com:1"}) {
    EXPECT_THAT(TransportErrorOf({"--listen", open}), ::testing::HasSubstr("--insecure")) << open;
    EXPECT_EQ(TransportErrorOf({"--listen", open, "--insecure"}), "") << open;
    EXPECT_EQ(TransportErrorOf({"--listen", open, "--tls-cert=c", "--tls-key=k"}), "") << open;
  }
}

TEST(TransportCheckTest, OptionsOfTlsNeedEachOther) {
  EXPECT_THAT(TransportErrorOf({"--tls-cert=c"}), ::testing::HasSubstr("--tls-key"));
  EXPECT_THAT(TransportErrorOf({"--tls-key=k"}), ::testing::HasSubstr("--tls-cert"));
  EXPECT_THAT(TransportErrorOf({"--tls-client-ca=a"}), ::testing::HasSubstr("--tls-cert"));
  EXPECT_THAT(TransportErrorOf({"--tls-cert=c", "--tls-key=k", "--door=off"}),
              ::testing::HasSubstr("--door"));
  EXPECT_EQ(TransportErrorOf({"--tls-cert=c", "--tls-key=k", "--tls-client-ca=a"}), "");
}

}  // namespace
}  // namespace peerage
