#include "server/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace peerage {
namespace {

constexpr absl::string_view kUnix = "unix:";

absl::Status CannotListen(const ListenAddress& address, absl::string_view reason) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(), ": ", reason));
}

absl::StatusOr<ListenAddress> ParseUnix(absl::string_view path) {
  // The kernel's limit, with the zero that ends a path.
  if (path.empty() || path.front() != '/' || path.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("must be unix:PATH, absolute and of at most ",
                                                   sizeof(sockaddr_un::sun_path) - 1,
                                                   " bytes, got '", path, "'"));
  }
  return ListenAddress{.path = std::string(path)};
}

// A server that was killed leaves its socket behind, where nobody listens. All else that keeps us
// from connecting, such as a mode, or too many who wait to be let in, is no sign of that.
absl::Status CheckSocketFile(const ListenAddress& address) {
  struct stat file = {};
  if (lstat(address.path.c_str(), &file) != 0) {
    const std::string folder = address.path.substr(0, address.path.rfind('/') + 1);
    if (errno == ENOENT && access(folder.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
    return CannotListen(address, std::strerror(errno));
  }
  if (!S_ISSOCK(file.st_mode)) return CannotListen(address, "there is a file that is no socket");
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  address.path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return CannotListen(address, std::strerror(errno));
  const int connected = connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof(name));
  const int reason = connected == 0 || errno == EAGAIN ? EADDRINUSE : errno;
  close(descriptor);
  return reason == ECONNREFUSED ? absl::OkStatus() : CannotListen(address, std::strerror(reason));
}

}  // namespace

std::string ListenAddress::ToString() const {
  if (is_unix()) return absl::StrCat(kUnix, path);
  if (absl::StrContains(host, ':')) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

absl::Status CheckCanListen(const ListenAddress& address) {
  if (address.is_unix()) return CheckSocketFile(address);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(address.port);
  const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return CannotListen(address, gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> freed(found, &freeaddrinfo);
  const int descriptor = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  if (descriptor < 0) return CannotListen(address, std::strerror(errno));
  // As servers do: connections that ended lately do not count.
  const int on = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool listens =
      bind(descriptor, found->ai_addr, found->ai_addrlen) == 0 && listen(descriptor, 1) == 0;
  const int reason = errno;
  close(descriptor);
  return listens ? absl::OkStatus() : CannotListen(address, std::strerror(reason));
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  if (absl::ConsumePrefix(&text, kUnix)) return ParseUnix(text);
  const auto malformed = [text] {
    return absl::InvalidArgumentError(
        absl::StrCat("must be HOST:PORT or [IPV6]:PORT, got '", text, "'"));
  };
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return malformed();
  absl::string_view host = text.substr(0, colon);
  const absl::string_view port_text = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.find_first_of("[] \t") != absl::string_view::npos) return malformed();
  if (bracketed != absl::StrContains(host, ':')) return malformed();

  int port = 0;
  const bool digits = port_text.find_first_not_of("0123456789") == absl::string_view::npos;
  if (!digits || !absl::SimpleAtoi(port_text, &port) || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("port must be in 0..65535, got '", port_text, "'"));
  }
  return ListenAddress{std::string(host), port};
}

}  // namespace peerage
