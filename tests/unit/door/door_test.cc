#include "server/door/door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::StartsWith;

std::string ReadToEnd(int fd) {
  std::string all;
  char part[16 << 10];
  for (ssize_t size; (size = read(fd, part, sizeof(part))) > 0;) {
    all.append(part, static_cast<size_t>(size));
  }
  return all;
}

void WriteAll(int fd, const std::string& bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t size = send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    if (size < 0) return;
    written += static_cast<size_t>(size);
  }
}

// Of the socket at the other end, without the zero that begins abstract names.
std::string PeerName(int fd) {
  sockaddr_un address = {};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
}

// A door to a server of one connection at a time, which `serve` is.
class DoorTest : public ::testing::Test {
 protected:
  void Open(std::function<void(int)> serve) {
    auto door = Door::Open({.listen = {"127.0.0.1", 0}, .clock = &clock_});
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
    door_->Start([this, serve](Descriptor connection) {
      auto owned = std::make_shared<Descriptor>(std::move(connection));
      threads_.emplace_back([serve, owned] {
        fcntl(owned->get(), F_SETFL, 0);  // it may wait
        serve(owned->get());
        owned->Reset();
      });
    });
  }

  ~DoorTest() override {
    if (door_ != nullptr) door_->StopListening();
    door_.reset();
    for (std::thread& thread : threads_) thread.join();
  }

  // Invalid when nobody listens.
  Descriptor Connect() {
    Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(door_->address().port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      client.Reset();
    }
    return client;
  }

  FakeClock clock_;
  std::unique_ptr<Door> door_;
  std::vector<std::thread> threads_;
};

TEST_F(DoorTest, RelaysBothWaysAndTheEnds) {
  Open([](int fd) { WriteAll(fd, "heard " + ReadToEnd(fd)); });
  const Descriptor client = Connect();
  WriteAll(client.get(), "a word");
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(client.get()), "heard a word");
  EXPECT_TRUE(door_->AwaitEnd(absl::InfiniteFuture()));
}

TEST_F(DoorTest, RelaysMoreThanAllBuffersHoldToAReaderWhoComesLate) {
  std::string long_text;
  for (int i = 0; i < 2'000'000; ++i) absl::StrAppend(&long_text, i, " ");
  Open([](int fd) {
    const std::string heard = ReadToEnd(fd);
    WriteAll(fd, heard);
  });
  const Descriptor client = Connect();
  std::thread writer([&] {
    WriteAll(client.get(), long_text);
    shutdown(client.get(), SHUT_WR);
  });
  writer.join();
  EXPECT_EQ(ReadToEnd(client.get()), long_text);
}

TEST_F(DoorTest, BringsWhatTheServerLeftBeforeItWent) {
  Open([](int fd) { WriteAll(fd, "goodbye"); });
  const Descriptor client = Connect();
  EXPECT_EQ(ReadToEnd(client.get()), "goodbye");
}

TEST_F(DoorTest, TellsTheServerThatAClientIsGone) {
  Open([](int fd) { EXPECT_EQ(ReadToEnd(fd), "half a w"); });
  Descriptor client = Connect();
  WriteAll(client.get(), "half a w");
  client.Reset();
  EXPECT_TRUE(door_->AwaitEnd(absl::InfiniteFuture()));
}

TEST_F(DoorTest, KnowsWhoIsBehindANameWhileHeIsConnected) {
  std::promise<std::string> told;
  Open([&told](int fd) {
    told.set_value(PeerName(fd));
    ReadToEnd(fd);
  });
  Descriptor client = Connect();
  const std::string name = told.get_future().get();
  ASSERT_TRUE(door_->Find(name).has_value()) << name;
  EXPECT_THAT(door_->Find(name)->address, StartsWith("ipv4:127.0.0.1:"));
  EXPECT_FALSE(door_->Find("").has_value());
  EXPECT_FALSE(door_->Find(name + "0").has_value());
  client.Reset();
  door_->AwaitEnd(absl::InfiniteFuture());
  EXPECT_FALSE(door_->Find(name).has_value());
}

TEST_F(DoorTest, KeepsWhoIsConnectedWhenItStopsToListen) {
  std::promise<void> let_in;
  Open([&let_in](int fd) {
    let_in.set_value();
    WriteAll(fd, ReadToEnd(fd));
  });
  const Descriptor early = Connect();
  let_in.get_future().wait();
  door_->StopListening();
  EXPECT_FALSE(Connect().valid());
  EXPECT_FALSE(door_->AwaitEnd(absl::InfinitePast()));
  WriteAll(early.get(), "still here");
  shutdown(early.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(early.get()), "still here");
}

TEST_F(DoorTest, RefusesAPortThatIsInUse) {
  Open([](int) {});
  const auto second = Door::Open({.listen = door_->address(), .clock = &clock_});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              ::testing::HasSubstr(door_->address().ToString()));
}

}  // namespace
}  // namespace peerage
