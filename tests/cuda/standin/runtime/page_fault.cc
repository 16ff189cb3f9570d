#include "page_fault.h"

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "runtime.h"

namespace standin {
namespace {

struct sigaction next;  // who was there before

// Not strictly safe in a handler; it is about to end the process, and the host's own code, not
// ours, was at fault.
void Explain(const void* address) {
  const auto number = reinterpret_cast<uint64_t>(address);
  if (const Device* device = DeviceOf(address)) {
    std::fprintf(stderr,
                 "cuda stand-in: the host followed a pointer of device %d: address %#lx, %s\n",
                 device->number, number, device->memory.Describe(number).c_str());
  } else if (runtime().host.WasFreed(address)) {
    std::fprintf(stderr,
                 "cuda stand-in: the host followed a pointer to pinned memory that was freed: "
                 "address %#lx\n",
                 number);
  }
}

void OnFault(int signal, siginfo_t* info, void* context) {
  Explain(info->si_addr);
  if (next.sa_flags & SA_SIGINFO) {
    next.sa_sigaction(signal, info, context);
  } else if (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN) {
    next.sa_handler(signal);
  } else {
    std::signal(signal, SIG_DFL);  // the access is tried again, and ends the process
  }
}

}  // namespace

void WatchPageFaults() {
  struct sigaction now = {};
  sigaction(SIGSEGV, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == OnFault) return;
  next = now;
  struct sigaction ours = {};
  ours.sa_sigaction = OnFault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &ours, nullptr);
}

}  // namespace standin
