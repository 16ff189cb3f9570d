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
  return signals;
}

}  // namespace

ShutdownSignals::ShutdownSignals() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Lives as long as the process: it must hear the second signal until the very end.
  std::thread([this] { Listen(); }).detach();
}

void ShutdownSignals::Listen() {
  const sigset_t signals = Signals();
  int signal = 0;
  sigwait(&signals, &signal);
  if (!serving_.HasBeenNotified()) _exit(0);
  End();
  sigwait(&signals, &signal);
  _exit(128 + signal);
}

}  // namespace peerage
