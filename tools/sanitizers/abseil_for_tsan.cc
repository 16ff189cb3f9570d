// Debian's Abseil is compiled without the thread sanitizer, which therefore does not see that an
// absl::Mutex orders anything. In the tsan build the linker (--wrap) puts these functions in front
// of Abseil's: each tells the sanitizer what the call releases before and acquires after it.
//
// Conditions of Mutex::Await are evaluated by whichever thread unlocks, inside the real call: what
// they read there is guarded by the mutex, so reads within a real call are ignored.
#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

class RealCall {
 public:
  RealCall(const void* released, const void* acquired) : acquired_(const_cast<void*>(acquired)) {
    if (released != nullptr) __tsan_release(const_cast<void*>(released));
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  }
  ~RealCall() {
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    if (acquired_ != nullptr) __tsan_acquire(acquired_);
  }

 private:
  void* const acquired_;
};

}  // namespace

using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

// `symbol` is Abseil's mangled name; tools/cmake/PeerageTargets.cmake hands the same list to
// --wrap.
#define PEERAGE_WRAP(result, symbol, parameters, arguments, released, acquired) \
  extern "C" result __real_##symbol parameters;                                 \
  extern "C" result __wrap_##symbol parameters {                                \
    const RealCall call(released, acquired);                                    \
    return __real_##symbol arguments;                                           \
  }

// These are all the calls of the three classes that lock, unlock, wait or wake a waiter.
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex4LockEv, (Mutex * mu), (mu), nullptr, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex7TryLockEv, (Mutex * mu), (mu), nullptr, mu)
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex6UnlockEv, (Mutex * mu), (mu), mu, nullptr)
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex10ReaderLockEv, (Mutex * mu), (mu), nullptr, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex13ReaderTryLockEv, (Mutex * mu), (mu), nullptr, mu)
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex12ReaderUnlockEv, (Mutex * mu), (mu), mu, nullptr)
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE,
             (Mutex * mu, const Condition& condition), (mu, condition), nullptr, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE,
             (Mutex * mu, const Condition& condition, Duration timeout), (mu, condition, timeout),
             nullptr, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE,
             (Mutex * mu, const Condition& condition, Time deadline), (mu, condition, deadline),
             nullptr, mu)
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex14ReaderLockWhenERKNS0_9ConditionE,
             (Mutex * mu, const Condition& condition), (mu, condition), nullptr, mu)
PEERAGE_WRAP(bool,
             _ZN4absl7debian35Mutex25ReaderLockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE,
             (Mutex * mu, const Condition& condition, Duration timeout), (mu, condition, timeout),
             nullptr, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE,
             (Mutex * mu, const Condition& condition, Time deadline), (mu, condition, deadline),
             nullptr, mu)
PEERAGE_WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE,
             (Mutex * mu, const Condition& condition), (mu, condition), mu, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
             (Mutex * mu, const Condition& condition, Duration timeout), (mu, condition, timeout),
             mu, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE,
             (Mutex * mu, const Condition& condition, Time deadline), (mu, condition, deadline), mu,
             mu)
PEERAGE_WRAP(void, _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, (CondVar * variable, Mutex* mu),
             (variable, mu), mu, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE,
             (CondVar * variable, Mutex* mu, Duration timeout), (variable, mu, timeout), mu, mu)
PEERAGE_WRAP(bool, _ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE,
             (CondVar * variable, Mutex* mu, Time deadline), (variable, mu, deadline), mu, mu)
PEERAGE_WRAP(void, _ZN4absl7debian312Notification6NotifyEv, (Notification * notification),
             (notification), notification, nullptr)
PEERAGE_WRAP(void, _ZNK4absl7debian312Notification19WaitForNotificationEv,
             (const Notification* notification), (notification), nullptr, notification)
PEERAGE_WRAP(bool, _ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE,
             (const Notification* notification, Duration timeout), (notification, timeout), nullptr,
             notification)
PEERAGE_WRAP(bool, _ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE,
             (const Notification* notification, Time deadline), (notification, deadline), nullptr,
             notification)

// A reference of a Status is let go of in Abseil, too. Who lets go of the last one deletes what the
// others read before they let go of theirs: it must have acquired by then. Weak: not every program
// has a Status.
#define PEERAGE_WRAP_UNREF(symbol)                                  \
  extern "C" __attribute__((weak)) void __real_##symbol(uintptr_t); \
  extern "C" void __wrap_##symbol(uintptr_t rep) {                  \
    __tsan_release(reinterpret_cast<void*>(rep));                   \
    __tsan_acquire(reinterpret_cast<void*>(rep));                   \
    __real_##symbol(rep);                                           \
  }

PEERAGE_WRAP_UNREF(_ZN4absl7debian36Status15UnrefNonInlinedEm)
