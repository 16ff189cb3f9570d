#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/door/byte_stream.h"

namespace peerage {

// An answer on its way from the thread that makes it to the one that sends it.
//
// Threads: safe from many.
class AnswerBuffer {
 public:
  // More than any answer but streams'; who makes it waits when so much is not sent.
  static constexpr size_t kMostUnsent = 4 << 20;

  // `on_more` is called when there is something to send, or the end.
  explicit AnswerBuffer(std::function<void()> on_more) : on_more_(std::move(on_more)) {}

  // The maker's. False when nobody reads any more.
  bool Write(absl::string_view bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether somebody may read on: he who has ended his own side waits for no stream.
  bool has_listener() const ABSL_LOCKS_EXCLUDED(mu_);
  void Finish() ABSL_LOCKS_EXCLUDED(mu_);

  // The sender's.
  struct State {
    size_t sent = 0;  // by this call
    size_t unsent = 0;
    bool finished = false;  // and no more will come
  };
  // Sends what can be sent at once. `sent` is 0, and nothing ever is again, once this has failed.
  State Send(ByteStream& client) ABSL_LOCKS_EXCLUDED(mu_);
  // The client sends no more, and is told what is made already.
  void EndSource() ABSL_LOCKS_EXCLUDED(mu_);
  // The reader has gone.
  void Abandon() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const std::function<void()> on_more_;

  mutable absl::Mutex mu_;
  std::string unsent_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool source_ended_ ABSL_GUARDED_BY(mu_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
