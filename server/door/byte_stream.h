#pragma once

#include <cstddef>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/door/descriptor.h"

namespace peerage {

// What came of reading or writing without waiting.
struct Transfer {
  enum Result {
    kMoved,    // `bytes` of them, more than none
    kBlocked,  // not now
    kEnded,    // of reading: the other side has ended its writing
    kFailed,   // the connection is gone
  };
  Result result = kFailed;
  size_t bytes = 0;
};

// One end of a connection: plain bytes, or what a protocol makes of them.
//
// Threads: one, which never waits.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // What to watch for being readable and writable.
  virtual int fd() const = 0;
  // Reads at most what fits, which is not nothing.
  virtual Transfer Read(absl::Span<char> into) = 0;
  // Writes a beginning of `bytes`, which are not none.
  virtual Transfer Write(absl::string_view bytes) = 0;
  // The other side reads an end after what was written.
  virtual void EndWriting() = 0;

  // Whether the other side has ended its writing or is gone, though what it sent before may not
  // have been read yet.
  bool HasHungUp() const;
};

// The bytes of a socket that does not block, as they are.
class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(Descriptor socket) : socket_(std::move(socket)) {}

  int fd() const override { return socket_.get(); }
  Transfer Read(absl::Span<char> into) override;
  Transfer Write(absl::string_view bytes) override;
  void EndWriting() override;

 private:
  const Descriptor socket_;
};

}  // namespace peerage
