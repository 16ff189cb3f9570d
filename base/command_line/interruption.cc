#include "base/command_line/interruption.h"

#include <csignal>
#include <initializer_list>

namespace peerage {
namespace {

volatile std::sig_atomic_t raised = 0;

void Remember(int signal) { raised = signal; }

}  // namespace

void Interruption::Watch() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction now = {};
    if (sigaction(signal, nullptr, &now) != 0 || now.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = Remember;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(signal, &action, nullptr);
  }
}

int Interruption::signal() { return raised; }

}  // namespace peerage
