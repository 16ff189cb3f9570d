// What a process costs that uses LibTorch as the server does and nothing else: prints its peak
// resident bytes. bench/serving/footprint.py subtracts them.
#include <sys/resource.h>

#include <iostream>

#include "model/nn/storage.h"

int main() {
  peerage::nn::InitializeTorch();
  const auto storage = peerage::nn::Allocate(1);
  rusage usage;
  if (!storage.ok() || getrusage(RUSAGE_SELF, &usage) != 0) return 1;
  std::cout << usage.ru_maxrss * 1024 << "\n";
  return 0;
}
