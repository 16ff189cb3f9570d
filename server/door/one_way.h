#pragma once

#include <event2/buffer.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "absl/strings/string_view.h"
#include "server/door/byte_stream.h"
#include "server/door/event_loop.h"

namespace peerage {

// One direction of a relayed connection. What is read is written at once; what the writer does not
// take waits here, and until it is gone nothing more is read: so never more than one read waits,
// and who is slow slows down the one who sends to him.
//
// Threads: its loop's.
class OneWay {
 public:
  static constexpr size_t kReadBytes = 32 << 10;

  struct Parts {
    EventLoop* loop = nullptr;
    ByteStream* from = nullptr;
    ByteStream* to = nullptr;
    // Sees what was read before it is passed on. It may close this way: then it is not; or hold it:
    // then it waits. It says behind how many of these bytes something may be inserted, if anywhere:
    // there `insert` is called.
    std::function<std::optional<size_t>(absl::string_view)> judge;
    std::function<void()> insert;
    // Threads that are about to write more are let go first, so that one read has what many calls
    // were answered. Where none waits for a processor, this takes no time.
    bool gathers = false;
    // Something may have been read or written: what follows may have changed.
    std::function<void()> on_turn;
  };

  // Reads from now on. All parts outlive it.
  explicit OneWay(Parts parts);

  // All that will ever be written is, and its reader has been told of the end.
  bool ended() const { return ended_; }
  // The one it is for is gone: nothing moves here any more.
  bool failed() const { return failed_; }
  // Whoever it is from has sent the end, or is gone.
  bool source_ended() const { return source_ended_; }
  // Nothing moves until it goes on.
  bool held() const { return held_; }
  size_t waiting_bytes() const { return evbuffer_get_length(waiting_.get()); }
  // So far, by the one it is for.
  size_t taken_bytes() const { return taken_bytes_; }

  // Writes these, too, behind what has been passed on. Not once it is closed.
  void Insert(absl::string_view bytes);

  // Nothing is read or written until it goes on.
  void Hold();
  void GoOn();

  // Who is not read is not heard to hang up either: so this is to be called now and then. What
  // waits of one who has is not passed on any more, only the end.
  void EndIfSourceHungUp();

  // Nothing more is read. What waits, and `last`, are still written, then the end. What is held is
  // not: it was not to be passed on yet, and now never is.
  void Close(absl::string_view last);

 private:
  struct FreeBuffer {
    void operator()(evbuffer* owned) const { evbuffer_free(owned); }
  };

  void OnReadable();
  void OnWritable();
  void Judge(absl::string_view bytes);
  void PassOn(absl::string_view bytes);
  // How many are written at once.
  size_t WriteNow(absl::string_view bytes);
  void EndIfDone();

  const Parts parts_;
  const std::unique_ptr<evbuffer, FreeBuffer> waiting_;
  const std::function<void()> readable_callback_;
  const std::function<void()> writable_callback_;
  const Event readable_;
  const Event writable_;
  size_t taken_bytes_ = 0;
  bool closed_ = false;  // nothing more is read
  bool held_ = false;
  bool source_ended_ = false;
  bool ended_ = false;
  bool failed_ = false;
};

}  // namespace peerage
