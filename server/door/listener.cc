#include "server/door/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

// So that a flood of connections does not hold up those that are open.
constexpr int kMostAcceptedAtOnce = 16;

// The system holds no more for a client than is on its way to him, and so much. It would let that
// grow to megabytes for somebody who was fast once.
constexpr int kMostUnsentBytes = 128 << 10;

union SocketAddress {
  sockaddr any;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
  sockaddr_un file;
  sockaddr_storage storage;
};

std::string AddressText(const SocketAddress& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.any.sa_family == AF_UNIX) return "unix:";
  if (address.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &address.ipv4.sin_addr, host, sizeof(host));
    return absl::StrCat("ipv4:", host, ":", ntohs(address.ipv4.sin_port));
  }
  inet_ntop(AF_INET6, &address.ipv6.sin6_addr, host, sizeof(host));
  return absl::StrCat("ipv6:[", host, "]:", ntohs(address.ipv6.sin6_port));
}

// Invalid, with errno, when there is nobody or no descriptor.
Descriptor AcceptOne(int socket, SocketAddress& from) {
  socklen_t size = sizeof(from);
  return Descriptor(accept4(socket, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

Descriptor OpenReserve() { return Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

int BoundPort(int socket) {
  SocketAddress address = {};
  socklen_t size = sizeof(address);
  if (getsockname(socket, &address.any, &size) != 0) return 0;
  return ntohs(address.any.sa_family == AF_INET ? address.ipv4.sin_port : address.ipv6.sin6_port);
}

// A socket that listens; invalid, with errno, when there is none.
Descriptor ListenOn(const addrinfo& found, int port) {
  SocketAddress address = {};
  std::memcpy(&address, found.ai_addr, found.ai_addrlen);
  // At the same place in both.
  address.ipv4.sin_port = htons(static_cast<uint16_t>(port));
  Descriptor listening(socket(found.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening.valid()) return listening;
  const int on = 1;
  setsockopt(listening.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listening.get(), &address.any, found.ai_addrlen) != 0 ||
      listen(listening.get(), SOMAXCONN) != 0) {
    const int reason = errno;
    listening.Reset();
    errno = reason;
  }
  return listening;
}

absl::Status CannotListen(const ListenAddress& address, absl::string_view reason) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(), ": ", reason));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const ListenAddress& address,
                                                         unsigned mode) {
  if (address.is_unix()) return BindFile(address, mode);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  if (error != 0) return CannotListen(address, gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> freed(found, &freeaddrinfo);
  ListenAddress bound = address;
  std::vector<Descriptor> sockets;
  int reason = 0;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    Descriptor listening = ListenOn(*one, bound.port);
    if (!listening.valid()) {
      reason = errno;
      // A name's second address may be one that this machine has not, such as IPv6's loopback.
      if (reason == EADDRNOTAVAIL || reason == EAFNOSUPPORT) continue;
      return CannotListen(address, std::strerror(reason));
    }
    bound.port = BoundPort(listening.get());
    sockets.push_back(std::move(listening));
  }
  if (sockets.empty()) return CannotListen(address, std::strerror(reason));
  return std::unique_ptr<Listener>(new Listener(bound, std::move(sockets)));
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::BindFile(const ListenAddress& address,
                                                             unsigned mode) {
  RETURN_IF_ERROR(CheckCanListen(address));
  unlink(address.path.c_str());  // of a server that was killed
  SocketAddress name = {};
  name.file.sun_family = AF_UNIX;
  address.path.copy(name.file.sun_path, sizeof(name.file.sun_path) - 1);
  Descriptor listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The file never has more than this mode, whatever the process's mask is.
  if (!listening.valid() || fchmod(listening.get(), mode) != 0 ||
      bind(listening.get(), &name.any, sizeof(name.file)) != 0 ||
      chmod(address.path.c_str(), mode) != 0 || listen(listening.get(), SOMAXCONN) != 0) {
    return CannotListen(address, std::strerror(errno));
  }
  std::vector<Descriptor> sockets;
  sockets.push_back(std::move(listening));
  return std::unique_ptr<Listener>(new Listener(address, std::move(sockets)));
}

Listener::~Listener() { Stop(); }

Listener::Listener(ListenAddress address, std::vector<Descriptor> sockets)
    : address_(std::move(address)), sockets_(std::move(sockets)), reserve_(OpenReserve()) {}

void Listener::Start(EventLoop& loop, Accept accept, Refuse refuse) {
  accept_ = std::move(accept);
  refuse_ = std::move(refuse);
  for (const Descriptor& socket : sockets_) {
    auto watched = std::make_unique<Watched>();
    watched->callback = [this, fd = socket.get()] { AcceptFrom(fd); };
    watched->event = loop.Watch(socket.get(), EV_READ, &watched->callback);
    watched_.push_back(std::move(watched));
  }
  Watch(true);
}

void Listener::OnTick() {
  if (!reserve_.valid()) reserve_ = OpenReserve();
  if (paused_) Watch(true);
}

void Listener::Stop() {
  watched_.clear();
  if (address_.is_unix() && !sockets_.empty()) unlink(address_.path.c_str());
  sockets_.clear();
}

void Listener::AcceptFrom(int socket) {
  for (int i = 0; i < kMostAcceptedAtOnce; ++i) {
    SocketAddress address = {};
    Descriptor accepted = AcceptOne(socket, address);
    if (!accepted.valid()) {
      const bool exhausted = errno == EMFILE || errno == ENFILE;
      if (exhausted && RefuseFrom(socket)) continue;
      // The socket stays readable: without a pause the loop would turn without end.
      if (exhausted || errno == ENOBUFS || errno == ENOMEM) Watch(false);
      return;
    }
    // A token goes out when it is there.
    const int on = 1;
    setsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(accepted.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kMostUnsentBytes,
               sizeof(kMostUnsentBytes));
    accept_(std::move(accepted), {.address = AddressText(address)});
  }
}

bool Listener::RefuseFrom(int socket) {
  if (!reserve_.valid()) return false;
  reserve_.Reset();
  SocketAddress address = {};
  Descriptor refused = AcceptOne(socket, address);
  const bool accepted = refused.valid();
  refused.Reset();
  reserve_ = OpenReserve();
  if (accepted) refuse_({.address = AddressText(address)});
  return accepted;
}

void Listener::Watch(bool on) {
  paused_ = !on;
  for (const std::unique_ptr<Watched>& watched : watched_) {
    if (on) {
      event_add(watched->event.get(), nullptr);
    } else {
      event_del(watched->event.get());
    }
  }
}

}  // namespace peerage
