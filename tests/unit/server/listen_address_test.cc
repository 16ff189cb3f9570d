#include "server/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

sockaddr_un NameOf(const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  return name;
}

// A socket at this path, which does not listen yet.
int SocketAt(const std::string& path) {
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const sockaddr_un name = NameOf(path);
  EXPECT_EQ(bind(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  return descriptor;
}

class UnixSocketTest : public ::testing::Test {
 protected:
  std::string Refusal() const { return std::string(CheckCanListen({.path = path_}).message()); }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.PathOf("grpc.sock");
};

TEST_F(UnixSocketTest, OfAServerThatWasKilledIsTaken) {
  close(SocketAt(path_));
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_EQ(Refusal(), "");
}

TEST_F(UnixSocketTest, IsInUseWhereSomebodyListens) {
  const int server = SocketAt(path_);
  ASSERT_EQ(listen(server, 0), 0);
  EXPECT_THAT(Refusal(), HasSubstr(std::strerror(EADDRINUSE)));
  close(server);
}

TEST_F(UnixSocketTest, IsInUseHoweverManyWaitToBeLetIn) {
  const int server = SocketAt(path_);
  ASSERT_EQ(listen(server, 0), 0);
  const sockaddr_un name = NameOf(path_);
  std::vector<int> waiting;
  do {
    waiting.push_back(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  } while (connect(waiting.back(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0);
  ASSERT_EQ(errno, EAGAIN);
  EXPECT_THAT(Refusal(), HasSubstr(std::strerror(EADDRINUSE)));
  for (const int descriptor : waiting) close(descriptor);
  close(server);
}

TEST_F(UnixSocketTest, IsLeftAloneWhereItIsOfAnotherKind) {
  const int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const sockaddr_un name = NameOf(path_);
  ASSERT_EQ(bind(server, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  EXPECT_THAT(Refusal(), HasSubstr(std::strerror(EPROTOTYPE)));
  close(server);
}

}  // namespace
}  // namespace peerage
