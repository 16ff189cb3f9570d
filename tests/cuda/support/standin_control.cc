#include "tests/cuda/support/standin_control.h"

#include <dlfcn.h>

namespace peerage::standin {
namespace {

template <typename Function>
Function* Find(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

bool IsPresent() { return Find<void()>("cudaStandinResetCalls") != nullptr; }

bool Set(const std::string& settings) {
  const auto set = Find<int(const char*)>("cudaStandinSet");
  return set != nullptr && set(settings.c_str()) != 0;
}

std::vector<std::string> TakeReports() {
  std::vector<std::string> reports;
  const auto take = Find<const char*()>("cudaStandinTakeReport");
  while (take != nullptr) {
    const char* report = take();
    if (report == nullptr) break;
    reports.emplace_back(report);
  }
  return reports;
}

uint64_t Calls(const std::string& function) {
  const auto calls = Find<uint64_t(const char*)>("cudaStandinCalls");
  return calls == nullptr ? 0 : calls(function.c_str());
}

void ResetCalls() {
  if (const auto reset = Find<void()>("cudaStandinResetCalls")) reset();
}

void Fail(const std::string& function, int error, int after) {
  if (const auto fail = Find<void(const char*, int, int)>("cudaStandinFail")) {
    fail(function.c_str(), error, after);
  }
}

uint64_t UsedBytes(int device) {
  const auto used = Find<uint64_t(int)>("cudaStandinUsedBytes");
  return used == nullptr ? 0 : used(device);
}

KernelCounters Counters(const std::string& kernel) {
  KernelCounters counters;
  const auto read = Find<void(const char*, uint64_t*, int)>("cudaStandinCounters");
  if (read == nullptr) return counters;
  constexpr int kNumbers = sizeof counters / sizeof(uint64_t);
  read(kernel.c_str(), reinterpret_cast<uint64_t*>(&counters), kNumbers);
  return counters;
}

void ResetCounters() {
  if (const auto reset = Find<void()>("cudaStandinResetCounters")) reset();
}

}  // namespace peerage::standin
