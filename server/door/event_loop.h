#pragma once

#include <event2/event.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/door/descriptor.h"

namespace peerage {

// A libevent object, which is freed with its owner. On its loop's thread only.
struct FreeEvent {
  void operator()(event* owned) const { event_free(owned); }
};
using Event = std::unique_ptr<event, FreeEvent>;

// A thread that waits for descriptors and time, and does one thing after the other. What happens on
// it needs no locks and must not wait.
//
// Threads: Post from any; Watch and Every on the loop's own.
class EventLoop {
 public:
  // UNAVAILABLE when the system has no descriptor left for it.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Start();

  // Runs what was posted, then ends the thread.
  ~EventLoop();

  // To be run on the loop's thread, in the order of the calls.
  void Post(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mu_);
  // Likewise, and returns when it has run. Not from the loop's thread.
  void Run(const std::function<void()>& task);

  // An event that calls `callback` (of `what`: EV_READ or EV_WRITE) as long as it is added; it is
  // not yet.
  Event Watch(int fd, short what, const std::function<void()>* callback);
  // One that is added and calls every so often.
  Event Every(absl::Duration interval, const std::function<void()>* callback);

 private:
  struct FreeBase {
    void operator()(event_base* owned) const { event_base_free(owned); }
  };

  EventLoop(event_base* base, int wake);
  void RunPosted() ABSL_LOCKS_EXCLUDED(mu_);

  const std::unique_ptr<event_base, FreeBase> base_;
  const Descriptor wake_;  // readable while something is posted
  std::function<void()> run_posted_;
  Event woken_;

  absl::Mutex mu_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace peerage
