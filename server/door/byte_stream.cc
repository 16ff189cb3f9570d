#include "server/door/byte_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace peerage {
namespace {

Transfer OfSystemCall(ssize_t returned) {
  if (returned > 0) return {Transfer::kMoved, static_cast<size_t>(returned)};
  if (returned == 0) return {Transfer::kEnded};
  const bool later = errno == EAGAIN || errno == EINTR;
  return {later ? Transfer::kBlocked : Transfer::kFailed};
}

}  // namespace

bool ByteStream::HasHungUp() const {
  pollfd end = {.fd = fd(), .events = POLLRDHUP};
  return poll(&end, 1, 0) == 1;
}

Transfer PlainStream::Read(absl::Span<char> into) {
  return OfSystemCall(recv(socket_.get(), into.data(), into.size(), 0));
}

Transfer PlainStream::Write(absl::string_view bytes) {
  return OfSystemCall(send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

void PlainStream::EndWriting() { shutdown(socket_.get(), SHUT_WR); }

}  // namespace peerage
