// Ends in the way that its argument names; on_standin_test.py looks at the exit code.
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda/standin/runtime_test/kernels.h"
#include "tests/cuda/support/standin_control.h"

namespace {

// What the stand-in reports: freed twice.
void Misuse() {
  void* p = nullptr;
  cudaMalloc(&p, 64);
  cudaFree(p);
  cudaFree(p);
}

int Run(const char* way) {
  const auto is = [way](const char* name) { return std::strcmp(way, name) == 0; };
  if (is("info")) {
    size_t free = 0, total = 0;
    int devices = 0;
    cudaGetDeviceCount(&devices);
    cudaMemGetInfo(&free, &total);
    std::printf("%d devices of %zu MiB\n", devices, total >> 20);
  } else if (is("variable")) {
    size_t bytes = 0;
    cudaGetSymbolSize(&bytes, peerage::standin_test::Counter());
    std::printf("%zu bytes\n", bytes);
  } else if (is("leak")) {
    void* p = nullptr;
    cudaMalloc(&p, 1000);
  } else if (is("trap")) {
    (void)peerage::standin_test::LaunchTrap(nullptr);
  } else if (is("seen trap")) {
    (void)peerage::standin_test::LaunchTrap(nullptr);
    std::printf("%s\n", cudaGetErrorName(cudaDeviceSynchronize()));
  } else if (is("follow")) {
    void* p = nullptr;
    cudaMalloc(&p, 64);
    *static_cast<volatile int*>(p) = 1;
  } else {
    Misuse();
  }
  if (is("taken")) peerage::standin::TakeReports();
  if (is("_exit")) _exit(0);
  if (is("_Exit")) std::_Exit(0);
  if (is("exit")) std::exit(0);
  if (is("killed")) std::raise(SIGKILL);
  return is("code") ? 3 : 0;
}

}  // namespace

int main(int count, char** arguments) { return Run(count > 1 ? arguments[1] : ""); }
