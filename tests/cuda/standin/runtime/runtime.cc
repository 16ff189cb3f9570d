#include "runtime.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "schedule.h"

namespace standin {
namespace {

const Runtime* existing = nullptr;

Settings FromEnvironment() {
  Settings settings;
  try {
    const char* list = std::getenv("CUDA_STANDIN");
    Apply(list == nullptr ? "" : list, settings);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "cuda stand-in: CUDA_STANDIN: %s\n", error.what());
    _exit(2);
  }
  if (const char* file = std::getenv("CUDA_STANDIN_LAUNCHED")) settings.launched_file = file;
  return settings;
}

}  // namespace

Runtime::Runtime() : settings(FromEnvironment()), random(settings.execution.seed + 1) {
  for (const Failure& failure : settings.failures) calls.Fail(failure);
  for (int i = 0; i < settings.devices; ++i) {
    devices.push_back(
        std::make_unique<Device>(i, settings.memory_bytes, settings.execution.check_global));
  }
}

void Runtime::Change(const std::string& list) {
  Settings changed = settings;
  changed.failures.clear();
  Apply(list, changed);
  if (changed.devices != settings.devices || changed.memory_bytes != settings.memory_bytes) {
    throw std::invalid_argument("devices and memory cannot be changed while a program runs");
  }
  for (const auto& device : devices) DrainDevice(*device);
  settings = changed;
  random.seed(settings.execution.seed + 1);
  for (const Failure& failure : settings.failures) calls.Fail(failure);
}

Runtime& runtime() {
  static Runtime& the = [&]() -> Runtime& {
    auto* made = new Runtime;  // outlives the program's static objects
    existing = made;
    return *made;
  }();
  return the;
}

const Runtime* ExistingRuntime() { return existing; }

int& CurrentDeviceNumber() {
  thread_local int number = 0;
  return number;
}

Device& CurrentDevice() { return *runtime().devices.at(CurrentDeviceNumber()); }

Device* DeviceOf(const void* address) {
  for (const auto& device : runtime().devices) {
    if (device->memory.Owns(reinterpret_cast<uint64_t>(address))) return device.get();
  }
  return nullptr;
}

void EndCapture(const std::shared_ptr<Capture>& capture) {
  capture->Release();
  std::erase(runtime().captures, capture);
}

}  // namespace standin
