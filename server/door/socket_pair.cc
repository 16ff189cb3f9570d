#include "server/door/socket_pair.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

// Processes that share a network share its abstract names, too.
uint64_t ProcessTag() {
  static const uint64_t tag = [] {
    uint64_t random = 0;
    [[maybe_unused]] const ssize_t size = getrandom(&random, sizeof(random), 0);
    return random;
  }();
  return tag;
}

std::string NextName() {
  static std::atomic<uint64_t> last = 0;
  return absl::StrCat("peerage-", absl::Hex(ProcessTag(), absl::kZeroPad16), "-", ++last);
}

bool BindAbstractly(int socket, const std::string& name) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const size_t size = offsetof(sockaddr_un, sun_path) + 1 + name.size();
  return bind(socket, reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size)) ==
         0;
}

}  // namespace

std::optional<SocketPair> MakeSocketPair() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
    return std::nullopt;
  }
  SocketPair made{Descriptor(pair[0]), Descriptor(pair[1]), NextName()};
  if (!BindAbstractly(made.ours.get(), made.name)) return std::nullopt;
  return made;
}

}  // namespace peerage
