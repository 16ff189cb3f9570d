#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ptx.h"

namespace standin {

// When queued work runs. A program without a synchronisation bug cannot tell them apart.
enum class Schedule {
  kEager,   // at once
  kLazy,    // only when somebody waits for it: shows host buffers reused or read too early
  kRandom,  // some of it, of any stream, now and then
};

// The `after`-th call of a function from now (0: the next) returns `error` and does nothing.
struct Failure {
  std::string function;
  int error = 0;
  int after = 0;
};

// What the environment variable CUDA_STANDIN says, a list of NAME=VALUE with commas between them:
//   memory=BYTES  devices=N  schedule=eager|lazy|random  seed=N  threads=N  target=80|90
//   check=0|1     trace=0|1  reports=fail|print          leaks=print|ignore
//   fail=FUNCTION:ERROR:AFTER, ERROR a number or a name such as cudaErrorMemoryAllocation
struct Settings {
  uint64_t memory_bytes = uint64_t{1} << 30;  // of each device; pages nobody touches cost nothing
  int devices = 1;
  Schedule schedule = Schedule::kEager;
  ptx::Options execution;        // its seed is also the random schedule's
  int target = 90;               // compute capability: PTX of the highest target up to it is run
  bool trace = false;            // every kernel's time to stderr
  bool fail_on_reports = false;  // a process that ends well although there are reports fails
  bool print_leaks = false;      // what was not freed, at the process's end
  std::vector<Failure> failures;
  // What the environment variable CUDA_STANDIN_LAUNCHED says: where the names of kernels that ran
  // are written at the end of the process, a line each. By itself, since who runs a test may set
  // the others.
  std::string launched_file;  // empty: nowhere
};

// Throws std::invalid_argument with the item that it does not understand.
void Apply(const std::string& list, Settings& settings);

}  // namespace standin
