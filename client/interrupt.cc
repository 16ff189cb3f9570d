#include "client/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace peerage::client {
namespace {

constexpr int kStop = SIGUSR1;  // the destructor's word to the waiting thread

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, kStop}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

void Interrupt::Block() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

Interrupt::Interrupt(std::function<bool()> on_interrupt) : on_interrupt_(std::move(on_interrupt)) {
  thread_ = std::thread([this] { Wait(); });
}

Interrupt::~Interrupt() {
  pthread_kill(thread_.native_handle(), kStop);
  thread_.join();
}

void Interrupt::Wait() {
  const sigset_t signals = Signals();
  int signal = 0;
  while (sigwait(&signals, &signal) == 0 && signal != kStop) {
    if (raised_) _exit(130);
    raised_ = true;  // before the call that Run waits for ends
    if (on_interrupt_()) raised_ = false;
  }
}

}  // namespace peerage::client
