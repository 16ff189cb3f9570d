#include "server/shutdown_signals.h"

#include <signal.h>
#include <unistd.h>

namespace peerage {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

ShutdownSignals::ShutdownSignals() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Lives as long as the process: it must hear the second signal until the very end.
  std::thread([this] { Listen(); }).detach();
}

int ShutdownSignals::AwaitEnd() {
  const sigset_t signals = Signals();
  int signal = 0;
  while (sigwait(&signals, &signal), signal == SIGHUP) {
    absl::MutexLock lock(&mu_);
    if (hang_up_ != nullptr) hang_up_();
  }
  return signal;
}

void ShutdownSignals::Listen() {
  AwaitEnd();
  if (!serving_.HasBeenNotified()) _exit(0);
  End();
  _exit(128 + AwaitEnd());
}

}  // namespace peerage
