// What is said, and made to fail, when the process ends.
#include <cuda_runtime_api.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "errors.h"
#include "runtime.h"

namespace standin {
namespace {

constexpr int kFailed = 70;  // EX_SOFTWARE

void PrintLeaks(const Runtime& r) {
  size_t bytes = 0, allocations = 0;
  for (const auto& device : r.devices) {
    bytes += device->memory.used();
    allocations += device->memory.allocations();
  }
  const size_t pinned = r.host.allocations(), streams = r.streams.size(), events = r.events.size(),
               graphs = r.graphs.size() + r.executables.size();
  if (allocations + pinned + streams + events + graphs == 0) return;
  std::fprintf(stderr,
               "cuda stand-in: not freed: %zu allocations of %zu bytes, %zu of pinned memory, "
               "%zu streams, %zu events, %zu graphs\n",
               allocations, bytes, pinned, streams, events, graphs);
}

bool WriteLaunched(const Runtime& r) {
  std::ofstream file(r.settings.launched_file);
  for (const std::string& kernel : r.launched) file << kernel << "\n";
  return static_cast<bool>(file.flush());
}

// The exit code of a process that wants to end with `status`.
int Judge(int status) {
  if (ExistingRuntime() == nullptr) return status;
  const Runtime& r = *ExistingRuntime();
  if (r.settings.print_leaks) PrintLeaks(r);
  bool failed = !r.reports.empty();
  if (failed) r.reports.Print();
  if (!r.settings.launched_file.empty() && !WriteLaunched(r)) {
    std::fprintf(stderr, "cuda stand-in: cannot write %s\n", r.settings.launched_file.c_str());
    failed = true;
  }
  for (const auto& device : r.devices) {
    if (device->told) continue;
    std::fprintf(stderr, "cuda stand-in: device %d ended with an error that nobody saw: %s\n",
                 device->number, ErrorString(device->sticky));
    failed = true;
  }
  return failed && status == 0 && r.settings.fail_on_reports ? kFailed : status;
}

// Runs after the program's own functions of atexit and its static destructors.
void OnExit(int status, void*) {
  const int code = Judge(status);
  if (code == status) return;
  std::fflush(nullptr);
  syscall(SYS_exit_group, code);
}

__attribute__((constructor)) void Register() { on_exit(OnExit, nullptr); }

}  // namespace

}  // namespace standin

extern "C" {

// Programs that end by _exit run nothing at exit; their calls come here instead, under the C
// library's names and version (cudart.map).
[[noreturn]] void standinExit(int status) {
  syscall(SYS_exit_group, standin::Judge(status));
  __builtin_unreachable();
}

[[noreturn]] void standinExitOfC99(int status) { standinExit(status); }

}  // extern "C"

__asm__(".symver standinExit,_exit@GLIBC_2.2.5");
__asm__(".symver standinExitOfC99,_Exit@GLIBC_2.2.5");
