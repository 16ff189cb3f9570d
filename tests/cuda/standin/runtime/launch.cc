#include "launch.h"

#include <time.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>

#include "runtime.h"
#include "schedule.h"

namespace standin {
namespace {

// A kernel's own name: the last of the names in a mangled one.
std::string ShortName(const std::string& mangled) {
  size_t at = mangled.find_first_of("0123456789");
  std::string name = mangled;
  while (at != std::string::npos && at < mangled.size() && std::isdigit(mangled[at])) {
    const size_t n = std::strtoul(mangled.c_str() + at, nullptr, 10);
    while (std::isdigit(mangled[at])) ++at;
    name = mangled.substr(at, n);
    at += n;
  }
  return name;
}

// As the driver refuses it.
cudaError_t CheckShape(const Function& f, dim3 grid, dim3 block, size_t shared) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || blocks == 0 || threads > kThreadsPerBlock || block.z > 64 ||
      grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  if (threads > f.kernel->max_threads) return cudaErrorInvalidValue;
  if (shared > static_cast<size_t>(f.dynamic_shared_limit)) return cudaErrorInvalidValue;
  const uint64_t warps = (threads + 31) / 32;
  return warps * 32 * f.registers > kRegisters ? cudaErrorLaunchOutOfResources : cudaSuccess;
}

cudaError_t ErrorOf(const std::string& what) {
  if (what.starts_with("trap")) return cudaErrorLaunchFailure;
  return what.starts_with("misaligned") ? cudaErrorMisalignedAddress : cudaErrorIllegalAddress;
}

cudaError_t Run(Device& device, ptx::Launch& launch) {
  Runtime& r = runtime();
  launch.number = ++r.launches;
  r.calls.Count("kernels");
  const std::string name = ShortName(launch.kernel->name);
  r.launched.insert(name);
  const double start = CpuSeconds();
  std::set<std::string> reports;
  try {
    r.profiles[name].Add(
        ptx::Execute(launch, device.memory.memory(), r.settings.execution, reports));
  } catch (const ptx::Error& error) {
    std::fprintf(stderr, "cuda stand-in: %s\n", error.what());
    return ErrorOf(error.what());
  }
  r.reports.Add(reports);
  if (r.settings.trace) {
    std::fprintf(stderr, "%-24s %8.3f ms\n", name.c_str(), 1e3 * (CpuSeconds() - start));
  }
  return cudaSuccess;
}

}  // namespace

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

Function* FindFunction(const void* host) {
  const Program::Symbol* symbol = runtime().program.Function(host);
  return symbol == nullptr ? nullptr : &CurrentDevice().Load(host, *symbol);
}

cudaError_t Launch(const LaunchArguments& a) {
  const std::shared_ptr<Stream> stream = FindStream(a.stream);
  Device& device = CurrentDevice();
  if (stream == nullptr || stream->device != &device) return cudaErrorInvalidResourceHandle;
  const Function* function = FindFunction(a.host);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  if (const cudaError_t error = CheckShape(*function, a.grid, a.block, a.shared);
      error != cudaSuccess) {
    return error;
  }
  const ptx::Kernel& kernel = *function->kernel;
  ptx::Launch launch;
  launch.kernel = &kernel;
  launch.grid = {a.grid.x, a.grid.y, a.grid.z};
  launch.block = {a.block.x, a.block.y, a.block.z};
  launch.dynamic_shared = static_cast<uint32_t>(a.shared);
  launch.parameters.assign(kernel.parameter_bytes + 8, 0);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    std::memcpy(launch.parameters.data() + kernel.parameters[i].offset, a.arguments[i],
                kernel.parameters[i].bytes);
  }
  Work work{kernel.name, cudaGraphNodeTypeKernel, {}, {}};
  work.run = [launch = std::move(launch), &device]() mutable { return Run(device, launch); };
  return Enqueue(stream, std::move(work));
}

int BlocksPerMultiprocessor(const Function& f, int threads, size_t dynamic_shared) {
  const size_t shared = dynamic_shared + f.kernel->static_shared + kSharedReserved;
  const int warps = (threads + 31) / 32;
  const int registers_a_warp = (f.registers * 32 + 255) / 256 * 256;
  return std::min({kBlocksPerMultiprocessor, kThreadsPerMultiprocessor / (warps * 32),
                   static_cast<int>(kSharedPerMultiprocessor / shared),
                   kRegisters / (registers_a_warp * warps)});
}

}  // namespace standin
