#include "server/rpc/stop_listening.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"

namespace peerage {
namespace {

// Of a socket that listens; -1: of anything else.
int ListeningPort(int fd) {
  int listens = 0;
  socklen_t size = sizeof(listens);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) return -1;
  sockaddr_storage address = {};
  size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return -1;
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return -1;
}

}  // namespace

void StopListening(int port) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    int fd = -1;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &fd)) continue;
    if (ListeningPort(fd) == port) shutdown(fd, SHUT_RD);
  }
}

}  // namespace peerage
