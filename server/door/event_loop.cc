#include "server/door/event_loop.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

namespace peerage {
namespace {

void CallBack(evutil_socket_t, short, void* callback) {
  (*static_cast<const std::function<void()>*>(callback))();
}

void* Argument(const std::function<void()>* callback) {
  return const_cast<std::function<void()>*>(callback);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Start() {
  event_base* base = event_base_new();
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (base == nullptr || wake < 0) {
    const int reason = errno;
    if (base != nullptr) event_base_free(base);
    if (wake >= 0) close(wake);
    return absl::UnavailableError(absl::StrCat("no event loop: ", std::strerror(reason)));
  }
  return std::unique_ptr<EventLoop>(new EventLoop(base, wake));
}

EventLoop::EventLoop(event_base* base, int wake)
    : base_(base),
      wake_(wake),
      run_posted_([this] { RunPosted(); }),
      woken_(Watch(wake, EV_READ, &run_posted_)) {
  event_add(woken_.get(), nullptr);
  thread_ = std::thread([this] { event_base_dispatch(base_.get()); });
}

EventLoop::~EventLoop() {
  Post([this] { event_base_loopbreak(base_.get()); });
  thread_.join();
}

void EventLoop::Post(std::function<void()> task) {
  absl::MutexLock lock(&mu_);
  posted_.push_back(std::move(task));
  const uint64_t one = 1;
  // It fails only where the loop has been woken 2^64 times and is awake anyhow.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

void EventLoop::Run(const std::function<void()>& task) {
  absl::Notification done;
  Post([&task, &done] {
    task();
    done.Notify();
  });
  done.WaitForNotification();
}

Event EventLoop::Watch(int fd, short what, const std::function<void()>* callback) {
  return Event(event_new(base_.get(), fd, static_cast<short>(what | EV_PERSIST), CallBack,
                         Argument(callback)));
}

Event EventLoop::Every(absl::Duration interval, const std::function<void()>* callback) {
  Event timer(event_new(base_.get(), -1, EV_PERSIST, CallBack, Argument(callback)));
  const timeval every = absl::ToTimeval(interval);
  event_add(timer.get(), &every);
  return timer;
}

void EventLoop::RunPosted() {
  uint64_t times = 0;
  [[maybe_unused]] const ssize_t read_bytes = read(wake_.get(), &times, sizeof(times));
  std::vector<std::function<void()>> posted;
  {
    absl::MutexLock lock(&mu_);
    posted = std::exchange(posted_, {});
  }
  for (const std::function<void()>& task : posted) task();
}

}  // namespace peerage
