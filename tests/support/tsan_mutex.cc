// Debian's Abseil is not built for ThreadSanitizer, which therefore takes everything that an
// absl::Mutex guards for a race. These definitions stand before the library's in a program's symbol
// order: they call the library and tell the sanitizer what it did. Only in builds for it.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>
#include <sched.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace {

template <typename Function>
Function Original(const char* symbol) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static const auto original = Original<void (*)(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  original(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static const auto original = Original<void (*)(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  original(this);
}

// The library evaluates conditions in whichever thread unlocks; here each thread does its own.
void Mutex::Await(const Condition& condition) { AwaitWithTimeout(condition, InfiniteDuration()); }

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  const Time deadline = absl::Now() + timeout;
  while (!condition.Eval()) {
    if (absl::Now() >= deadline) return false;
    Unlock();
    sched_yield();
    Lock();
  }
  return true;
}

void CondVar::Wait(Mutex* mutex) { WaitWithTimeout(mutex, InfiniteDuration()); }

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const auto original = Original<bool (*)(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool timed_out = original(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

ABSL_NAMESPACE_END
}  // namespace absl
