// A stand-in for libcudart.so.13 that runs kernels on the CPU (ptx.h). Test code only.
//
// Streams are queues of work; capture records the same work into a graph, and a graph's launch is
// one piece of work. Device pointers cannot be followed by the host. A kernel that traps leaves a
// sticky error, as on a device.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <unordered_map>
#include <vector>

#include "standin.h"

namespace standin {
namespace {

using ptx::u64;
using ptx::u8;
using Clock = std::chrono::steady_clock;
using Work = std::function<cudaError_t()>;

// Of this process's threads: fair also on a busy machine.
double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Graph {
  std::vector<Work> work;
  std::vector<std::string> names;
};

struct Stream {
  std::deque<Work> queue;
  u64 issued = 0, done = 0;
  std::shared_ptr<Graph> capture;
};

struct Event {
  Stream* stream = nullptr;
  u64 ticket = 0;
  std::shared_ptr<Clock::time_point> time = std::make_shared<Clock::time_point>();
};

struct Function {
  std::string name;
  int module = 0;
  ptx::Kernel* kernel = nullptr;
  int dynamic_shared = 48 << 10;
};

constexpr u64 kAddresses = u64{1} << 40;  // reserved for the device
constexpr size_t kGap = 512;              // also the alignment

struct Device {
  Config config;
  ptx::Memory memory;
  std::map<u64, u64> allocations;  // begin to end
  u64 base = 0, used = 0;
  std::map<u64, u64> pinned;
  cudaError_t sticky = cudaSuccess;
  std::vector<std::unique_ptr<ptx::Module>> modules;
  std::vector<std::string> broken;  // by module: why it cannot be run
  std::unordered_map<const void*, Function> functions;
  std::unordered_map<std::string, u64> calls;
  std::unordered_map<std::string, std::pair<int, int>> failures;  // error, calls before it
  std::map<std::string, ptx::Profile> counters;
  std::set<std::string> reports;
  std::set<std::unique_ptr<Stream>> streams;
  Stream standard;
  std::mt19937_64 random{1};
  u64 launches = 0;
  double kernel_seconds = 0, matmul_seconds = 0;
  std::recursive_mutex mutex;

  Device() {
    const char* text = std::getenv("CUDA_STANDIN");
    std::string all = text == nullptr ? "" : text;
    while (!all.empty()) {
      const size_t comma = all.find(',');
      const std::string item = all.substr(0, comma), value = item.substr(item.find('=') + 1);
      if (item.starts_with("memory=")) config.memory_bytes = std::stoull(value);
      if (item.starts_with("threads=")) config.execution.threads = std::stoi(value);
      if (item.starts_with("seed=")) config.execution.seed = std::stoull(value);
      if (item.starts_with("target=")) config.target = std::stoi(value);
      if (item.starts_with("check="))
        config.execution.check_shared = config.execution.check_global = config.execution.count =
            value != "0";
      if (item.starts_with("trace=")) config.trace = value != "0";
      if (item == "schedule=lazy") config.schedule = Schedule::kLazy;
      if (item == "schedule=random") config.schedule = Schedule::kRandom;
      if (item.starts_with("fail=")) {
        const size_t a = value.find(':'), b = value.find(':', a + 1);
        failures[value.substr(0, a)] = {std::stoi(value.substr(b + 1)),
                                        std::stoi(value.substr(a + 1, b - a - 1))};
      }
      all = comma == std::string::npos ? "" : all.substr(comma + 1);
    }
  }

  void Map() {
    if (base != 0) return;
    void* reserved =
        mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void* bytes = mmap(nullptr, kAddresses, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED || bytes == MAP_FAILED) std::abort();
    base = reinterpret_cast<u64>(reserved);
    memory.alias = reinterpret_cast<u64>(bytes) - base;
    if (!config.execution.check_global) return;
    void* touches =
        mmap(nullptr, kAddresses / 4 * sizeof(ptx::Memory::Touch), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (touches == MAP_FAILED) return;
    memory.touches = static_cast<ptx::Memory::Touch*>(touches);
    memory.first = base;
  }
};

Device& device() {
  static Device* d = new Device;  // outlives the programs' static objects
  return *d;
}

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t Return(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}

// Counts a call; an injected or sticky error ends it.
cudaError_t Enter(const char* function) {
  Device& d = device();
  ++d.calls[function];
  if (const auto f = d.failures.find(function); f != d.failures.end() && f->second.second-- == 0) {
    const auto error = static_cast<cudaError_t>(f->second.first);
    d.failures.erase(f);
    if (error == cudaErrorIllegalAddress || error == cudaErrorECCUncorrectable ||
        error == cudaErrorLaunchFailure)
      d.sticky = error;
    return Return(error);
  }
  return d.sticky == cudaSuccess ? cudaSuccess : Return(d.sticky);
}
#define ENTER()                               \
  const std::lock_guard lock(device().mutex); \
  if (const cudaError_t e_ = Enter(__func__); e_ != cudaSuccess) return e_

void RunOne(Stream& s) {
  Device& d = device();
  Work work = std::move(s.queue.front());
  s.queue.pop_front();
  ++s.done;
  if (d.sticky != cudaSuccess) return;
  if (const cudaError_t e = work(); e != cudaSuccess) d.sticky = e;
}
void Drain(Stream& s, u64 ticket = ~u64{0}) {
  while (!s.queue.empty() && s.done < ticket) RunOne(s);
}
void DrainAll() {
  Drain(device().standard);
  for (const auto& s : device().streams) Drain(*s);
}

Stream& Of(cudaStream_t s) {
  const auto value = reinterpret_cast<u64>(s);
  return value <= 2 ? device().standard : *reinterpret_cast<Stream*>(s);
}
bool AnyCapture() {
  for (const auto& s : device().streams)
    if (s->capture != nullptr) return true;
  return false;
}

cudaError_t Enqueue(cudaStream_t stream, std::string name, Work work) {
  Device& d = device();
  Stream& s = Of(stream);
  if (s.capture != nullptr) {
    s.capture->work.push_back(std::move(work));
    s.capture->names.push_back(std::move(name));
    return cudaSuccess;
  }
  if (&s == &d.standard) {
    if (AnyCapture()) return Return(cudaErrorStreamCaptureImplicit);
    DrainAll();
  }
  s.queue.push_back(std::move(work));
  ++s.issued;
  if (d.config.schedule == Schedule::kEager) Drain(s);
  if (d.config.schedule == Schedule::kRandom) {
    for (u64 n = d.random() % 4; n > 0 && !s.queue.empty(); --n) RunOne(s);
  }
  return cudaSuccess;
}

bool OnDevice(const void* p) {
  const auto a = reinterpret_cast<u64>(p);
  return device().base != 0 && a >= device().base && a < device().base + kAddresses;
}
bool Pinned(const void* p, size_t n) {
  const auto a = reinterpret_cast<u64>(p);
  auto next = device().pinned.upper_bound(a);
  if (next == device().pinned.begin()) return false;
  --next;
  return a + n <= next->second;
}

cudaError_t CheckSpan(const void* p, size_t n, bool on_device) {
  if (OnDevice(p) != on_device) return cudaErrorInvalidValue;
  return !on_device || device().memory.Holds(reinterpret_cast<u64>(p), n) ? cudaSuccess
                                                                          : cudaErrorInvalidValue;
}
u8* Host(const void* p) {
  return OnDevice(p) ? device().memory.At(reinterpret_cast<u64>(p))
                     : static_cast<u8*>(const_cast<void*>(p));
}

cudaError_t Copy(void* to, const void* from, size_t n, cudaMemcpyKind kind, cudaStream_t stream,
                 bool async) {
  if (n == 0) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ||
                         (kind == cudaMemcpyDefault && OnDevice(to));
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ||
                           (kind == cudaMemcpyDefault && OnDevice(from));
  if (CheckSpan(to, n, to_device) != cudaSuccess || CheckSpan(from, n, from_device) != cudaSuccess)
    return Return(cudaErrorInvalidValue);
  Stream& s = Of(stream);
  const bool pageable = (!to_device && !Pinned(to, n)) || (!from_device && !Pinned(from, n));
  if (pageable) {
    ++device().calls["pageable copies"];
    if (s.capture != nullptr) return Return(cudaErrorStreamCaptureUnsupported);
    async = false;
  }
  ++device().calls[!to_device     ? "device to host copies"
                   : !from_device ? "host to device copies"
                                  : "device to device copies"];
  const cudaError_t e = Enqueue(stream, "copy", [=] {
    std::memmove(Host(to), Host(from), n);
    return cudaSuccess;
  });
  if (!async && e == cudaSuccess) Drain(s);
  return e != cudaSuccess ? e : async ? cudaSuccess : Return(device().sticky);
}

void LoadFatBinary(const u8* p) {
  Device& d = device();
  d.modules.push_back(std::make_unique<ptx::Module>());
  d.broken.emplace_back(
      "no PTX text in the program: compile with --compress-mode=none and code=compute_XX");
  ptx::u32 magic;
  std::memcpy(&magic, p, 4);
  if (magic != 0xba55ed50) return;
  ptx::u16 header;
  u64 size;
  std::memcpy(&header, p + 6, 2);
  std::memcpy(&size, p + 8, 8);
  std::string best;
  int best_target = 0;
  for (const u8 *e = p + header, *end = p + header + size; e < end;) {
    ptx::u16 kind;
    ptx::u32 entry_header;
    u64 n;
    std::memcpy(&kind, e, 2);
    std::memcpy(&entry_header, e + 4, 4);
    std::memcpy(&n, e + 8, 8);
    if (kind == 1) {
      std::string text(reinterpret_cast<const char*>(e + entry_header), n);
      text.resize(std::strlen(text.c_str()));
      const size_t at = text.find(".target sm_");
      const int target = at == std::string::npos ? 0 : std::atoi(text.c_str() + at + 11);
      if (target > best_target && target <= d.config.target) {
        best_target = target;
        best = std::move(text);
      }
    }
    e += entry_header + n;
  }
  if (best.empty()) return;
  try {
    d.modules.back()->Add(std::move(best), d.memory);
    d.broken.back().clear();
  } catch (ptx::Error& e) {
    d.broken.back() = e.what();
  }
}

cudaError_t Decode(Function& f) {
  if (f.kernel != nullptr) return cudaSuccess;
  Device& d = device();
  try {
    if (!d.broken[f.module].empty()) throw ptx::Error(d.broken[f.module]);
    f.kernel = &d.modules[f.module]->Get(f.name);
  } catch (ptx::Error& e) {
    std::fprintf(stderr, "cuda stand-in: %s\n", e.what());
    return cudaErrorInvalidKernelImage;
  }
  return cudaSuccess;
}

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

cudaError_t LaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared,
                         cudaStream_t stream) {
  Device& d = device();
  const auto found = d.functions.find(host);
  if (found == d.functions.end()) return Return(cudaErrorInvalidDeviceFunction);
  Function& f = found->second;
  if (const cudaError_t e = Decode(f); e != cudaSuccess) return Return(e);
  const ptx::Kernel& k = *f.kernel;
  ptx::Launch launch;
  launch.kernel = &k;
  launch.grid = {grid.x, grid.y, grid.z};
  launch.block = {block.x, block.y, block.z};
  launch.dynamic_shared = static_cast<ptx::u32>(shared);
  const u64 threads = launch.block.count();
  if (threads == 0 || launch.grid.count() == 0 || grid.y > 65535 || grid.z > 65535)
    return Return(cudaErrorInvalidConfiguration);
  if (threads > 1024) return Return(cudaErrorInvalidConfiguration);
  if (threads > k.max_threads) return Return(cudaErrorInvalidValue);
  if (shared > static_cast<size_t>(f.dynamic_shared) || k.static_shared + shared > 227 << 10)
    return Return(cudaErrorInvalidValue);
  launch.parameters.assign(k.parameter_bytes + 8, 0);
  for (size_t i = 0; i < k.parameters.size(); ++i) {
    std::memcpy(launch.parameters.data() + k.parameters[i].offset, arguments[i],
                k.parameters[i].bytes);
  }
  return Enqueue(stream, f.name, [launch = std::move(launch)]() mutable {
    Device& d = device();
    launch.number = ++d.launches;
    const double start = CpuSeconds();
    try {
      std::set<std::string> reports;
      d.counters[ShortName(launch.kernel->name)].Add(
          ptx::Execute(launch, d.memory, d.config.execution, reports));
      for (const std::string& r : reports) {
        if (d.reports.insert(r).second) std::fprintf(stderr, "cuda stand-in: %s\n", r.c_str());
      }
    } catch (ptx::Error& e) {
      std::fprintf(stderr, "cuda stand-in: %s\n", e.what());
      const std::string what = e.what();
      return what.starts_with("trap")         ? cudaErrorLaunchFailure
             : what.starts_with("misaligned") ? cudaErrorMisalignedAddress
                                              : cudaErrorIllegalAddress;
    }
    d.kernel_seconds += CpuSeconds() - start;
    if (d.config.trace)
      std::fprintf(stderr, "%-20s %8.3f ms, %u bytes of registers a warp\n",
                   ShortName(launch.kernel->name).c_str(), 1e3 * (CpuSeconds() - start),
                   launch.kernel->register_bytes);
    return cudaSuccess;
  });
}

struct CallConfiguration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local CallConfiguration call;

}  // namespace

Config& config() { return device().config; }
uint64_t Calls(const std::string& function) { return device().calls[function]; }
void ResetCalls() { device().calls.clear(); }
void Fail(const std::string& function, int error, int after) {
  device().failures[function] = {error, after};
}
const std::map<std::string, ptx::Profile>& Profiles() { return device().counters; }
void ResetProfiles() {
  device().counters.clear();
  device().kernel_seconds = device().matmul_seconds = 0;
}
double KernelSeconds() { return device().kernel_seconds; }
double MatmulSeconds() { return device().matmul_seconds; }
std::set<std::string>& Reports() { return device().reports; }
uint64_t UsedBytes() { return device().used; }
void ResetDevice() {
  Device& d = device();
  for (const auto& [begin, end] : d.allocations) d.memory.Remove(begin);
  d.allocations.clear();
  d.used = 0;
  d.sticky = last_error = cudaSuccess;
  d.failures.clear();
  d.standard.queue.clear();
  for (const auto& s : d.streams) {
    s->queue.clear();
    s->capture = nullptr;
  }
}

}  // namespace standin

using namespace standin;

extern "C" {

// ---- what nvcc's host code calls
void** __cudaRegisterFatBinary(void* wrapper) {
  struct Wrapper {
    int magic, version;
    const void* data;
    void* file;
  };
  LoadFatBinary(static_cast<const u8*>(static_cast<Wrapper*>(wrapper)->data));
  return reinterpret_cast<void**>(device().modules.size());  // index + 1
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 0; }
void __cudaRegisterFunction(void** module, const char* host, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  device().functions[host] = {name, static_cast<int>(reinterpret_cast<u64>(module)) - 1, nullptr,
                              48 << 10};
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t s, cudaStream_t st) {
  call = {g, b, s, st};
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* s, void* st) {
  *g = call.grid;
  *b = call.block;
  *s = call.shared;
  *static_cast<cudaStream_t*>(st) = call.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* k, const void* f) {
  *k = reinterpret_cast<cudaKernel_t>(const_cast<void*>(f));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t f, dim3 g, dim3 b, void** a, size_t s,
                               cudaStream_t st) {
  const std::lock_guard lock(device().mutex);
  if (const cudaError_t e = Enter("cudaLaunchKernel"); e != cudaSuccess) return e;
  return LaunchKernel(reinterpret_cast<const void*>(f), g, b, a, s, st);
}
cudaError_t cudaLaunchKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) {
  ENTER();
  return LaunchKernel(f, g, b, a, s, st);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** a) {
  ENTER();
  return LaunchKernel(f, c->gridDim, c->blockDim, a, c->dynamicSmemBytes, c->stream);
}

// ---- memory
cudaError_t cudaMalloc(void** p, size_t n) {
  ENTER();
  Device& d = device();
  if (AnyCapture()) return Return(cudaErrorStreamCaptureUnsupported);
  d.Map();
  const u64 bytes = (n + kGap - 1) / kGap * kGap;
  if (n == 0) {
    *p = nullptr;
    return cudaSuccess;
  }
  if (d.used + bytes > d.config.memory_bytes) return Return(cudaErrorMemoryAllocation);
  u64 at = d.base + kGap;
  for (const auto& [begin, end] : d.allocations) {
    if (begin >= at + bytes + kGap) break;
    at = end + kGap;
  }
  d.allocations[at] = at + bytes;
  d.used += bytes;
  d.memory.Add(at, n);
  std::memset(d.memory.At(at), 0xff,
              std::min<size_t>(n, size_t{256} << 20));  // NaN in every format
  *p = reinterpret_cast<void*>(at);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  ENTER();
  Device& d = device();
  if (p == nullptr) return cudaSuccess;
  const auto a = d.allocations.find(reinterpret_cast<u64>(p));
  if (a == d.allocations.end()) return Return(cudaErrorInvalidValue);
  if (AnyCapture()) return Return(cudaErrorStreamCaptureUnsupported);
  DrainAll();
  d.used -= a->second - a->first;
  d.memory.Remove(a->first);
  d.allocations.erase(a);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) {
  ENTER();
  *p = std::aligned_alloc(4096, (n + 4095) / 4096 * 4096);
  device().pinned[reinterpret_cast<u64>(*p)] = reinterpret_cast<u64>(*p) + n;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t n) { return cudaHostAlloc(p, n, 0); }
cudaError_t cudaFreeHost(void* p) {
  ENTER();
  DrainAll();
  device().pinned.erase(reinterpret_cast<u64>(p));
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  ENTER();
  *total = device().config.memory_bytes;
  *free = *total - device().used;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  ENTER();
  if (AnyCapture()) return Return(cudaErrorStreamCaptureImplicit);
  return Copy(d, s, n, k, nullptr, false);
}
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  ENTER();
  return Copy(d, s, n, k, st, true);
}
cudaError_t cudaMemsetAsync(void* p, int v, size_t n, cudaStream_t st) {
  ENTER();
  if (CheckSpan(p, n, true) != cudaSuccess) return Return(cudaErrorInvalidValue);
  return Enqueue(st, "memset", [=] {
    std::memset(Host(p), v, n);
    return cudaSuccess;
  });
}
cudaError_t cudaMemset(void* p, int v, size_t n) { return cudaMemsetAsync(p, v, n, nullptr); }

// ---- streams and events
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  ENTER();
  auto stream = std::make_unique<Stream>();
  *s = reinterpret_cast<cudaStream_t>(stream.get());
  device().streams.insert(std::move(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  ENTER();
  Drain(Of(s));
  std::erase_if(device().streams, [&](const auto& x) { return x.get() == &Of(s); });
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  ENTER();
  if (Of(s).capture != nullptr) return Return(cudaErrorStreamCaptureUnsupported);
  Drain(Of(s));
  return Return(device().sticky);
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
  ENTER();
  return Of(s).queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  ENTER();
  if (AnyCapture()) return Return(cudaErrorStreamCaptureUnsupported);
  DrainAll();
  return Return(device().sticky);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  ENTER();
  *e = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  ENTER();
  delete reinterpret_cast<Event*>(e);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  ENTER();
  auto* event = reinterpret_cast<Event*>(e);
  if (Of(s).capture != nullptr)
    return Return(cudaErrorStreamCaptureUnsupported);  // not needed so far
  event->stream = &Of(s);
  event->ticket = Of(s).issued + 1;
  return Enqueue(s, "event", [time = event->time] {
    *time = Clock::now();
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  ENTER();
  const auto* event = reinterpret_cast<Event*>(e);
  if (event->stream != nullptr) Drain(*event->stream, event->ticket);
  return Return(device().sticky);
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  ENTER();
  const auto* event = reinterpret_cast<Event*>(e);
  return event->stream == nullptr || event->stream->done >= event->ticket ? cudaSuccess
                                                                          : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  ENTER();
  *ms = std::chrono::duration<float, std::milli>(*reinterpret_cast<Event*>(b)->time -
                                                 *reinterpret_cast<Event*>(a)->time)
            .count();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  ENTER();
  const Event event = *reinterpret_cast<Event*>(e);
  if (Of(s).capture != nullptr) return Return(cudaErrorStreamCaptureUnsupported);
  return Enqueue(s, "wait", [event] {
    if (event.stream != nullptr) Drain(*event.stream, event.ticket);
    return cudaSuccess;
  });
}

// ---- graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  ENTER();
  if (&Of(s) == &device().standard) return Return(cudaErrorStreamCaptureUnsupported);
  if (Of(s).capture != nullptr) return Return(cudaErrorIllegalState);
  Of(s).capture = std::make_shared<Graph>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  ENTER();
  if (Of(s).capture == nullptr) return Return(cudaErrorIllegalState);
  *g = reinterpret_cast<cudaGraph_t>(new Graph(*Of(s).capture));
  Of(s).capture = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  ENTER();
  *status = Of(s).capture != nullptr ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t*, size_t* n) {
  ENTER();
  *n = reinterpret_cast<Graph*>(g)->work.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* x, cudaGraph_t g, unsigned long long) {
  ENTER();
  *x = reinterpret_cast<cudaGraphExec_t>(
      new std::shared_ptr<Graph>(new Graph(*reinterpret_cast<Graph*>(g))));
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  ENTER();
  delete reinterpret_cast<Graph*>(g);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x) {
  ENTER();
  delete reinterpret_cast<std::shared_ptr<Graph>*>(x);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) {
  ENTER();
  if (Of(s).capture != nullptr) return Return(cudaErrorStreamCaptureUnsupported);
  return Enqueue(s, "graph", [graph = *reinterpret_cast<std::shared_ptr<Graph>*>(x)] {
    for (const Work& w : graph->work) {
      if (const cudaError_t e = w(); e != cudaSuccess) return e;
    }
    return cudaSuccess;
  });
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data) {
  ENTER();
  return Enqueue(s, "host", [=] {
    f(data);
    return cudaSuccess;
  });
}

// ---- devices, functions, errors
cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* n) {
  *n = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int n) {
  ENTER();
  return n == 0 ? cudaSuccess : Return(cudaErrorInvalidDevice);
}
cudaError_t cudaDeviceReset() {
  const std::lock_guard lock(device().mutex);
  ResetDevice();
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  ENTER();
  std::memset(p, 0, sizeof *p);
  std::strcpy(p->name, "CUDA stand-in (CPU)");
  p->totalGlobalMem = device().config.memory_bytes;
  p->major = device().config.target / 10;
  p->minor = device().config.target % 10;
  p->multiProcessorCount = 132;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = 227 << 10;
  p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerMultiprocessor = p->regsPerBlock = 65536;
  p->l2CacheSize = 50 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int) {
  ENTER();
  switch (a) {
    case cudaDevAttrMultiProcessorCount:
      *v = 132;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *v = device().config.target / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *v = device().config.target % 10;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *v = 227 << 10;
      return cudaSuccess;
    default:
      return Return(cudaErrorInvalidValue);
  }
}
cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute a, int v) {
  ENTER();
  const auto found = device().functions.find(f);
  if (found == device().functions.end()) return Return(cudaErrorInvalidDeviceFunction);
  if (a == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (v > 227 << 10) return Return(cudaErrorInvalidValue);
    found->second.dynamic_shared = v;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* f) {
  ENTER();
  const auto found = device().functions.find(f);
  if (found == device().functions.end()) return Return(cudaErrorInvalidDeviceFunction);
  if (const cudaError_t e = Decode(found->second); e != cudaSuccess) return Return(e);
  std::memset(out, 0, sizeof *out);
  out->sharedSizeBytes = found->second.kernel->static_shared;
  out->maxThreadsPerBlock = static_cast<int>(found->second.kernel->max_threads);
  out->numRegs = 64;  // not known: ptxas has it (-Xptxas -v)
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* f, int threads,
                                                          size_t shared) {
  ENTER();
  const auto found = device().functions.find(f);
  if (found == device().functions.end()) return Return(cudaErrorInvalidDeviceFunction);
  if (const cudaError_t e = Decode(found->second); e != cudaSuccess) return Return(e);
  const size_t per_block = shared + found->second.kernel->static_shared + 1024;
  *n = static_cast<int>(std::min({size_t{32}, size_t{2048} / threads, size_t{228 << 10} / per_block,
                                  size_t{65536} / (64 * threads)}));
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const cudaError_t e = device().sticky != cudaSuccess ? device().sticky : last_error;
  last_error = cudaSuccess;
  return e;
}
cudaError_t cudaPeekAtLastError() {
  return device().sticky != cudaSuccess ? device().sticky : last_error;
}
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    default:
      return "cudaError";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return "error of the CUDA stand-in";
  }
}

// ---- for the other stand-ins
cudaError_t cudaStandinEnqueue(cudaStream_t stream, const char* name, Work* work) {
  const std::lock_guard lock(device().mutex);
  if (device().sticky != cudaSuccess) return Return(device().sticky);
  return Enqueue(stream, name, std::move(*work));
}
void* cudaStandinBytes(const void* p, size_t n) {
  return device().memory.Holds(reinterpret_cast<u64>(p), n)
             ? device().memory.At(reinterpret_cast<u64>(p))
             : nullptr;
}
int cudaStandinCall(const char* function) {
  const std::lock_guard lock(device().mutex);
  return Enter(function);
}
double cudaStandinCpuSeconds() { return CpuSeconds(); }
void cudaStandinMatmulSeconds(double s) { device().matmul_seconds += s; }

}  // extern "C"

// ---- what tests ask (tests/cuda/support/standin_control.h)
extern "C" {

const char* cudaStandinTakeReport() {
  static std::string taken;
  const std::lock_guard lock(device().mutex);
  std::set<std::string>& reports = device().reports;
  if (reports.empty()) return nullptr;
  taken = *reports.begin();
  reports.erase(reports.begin());
  return taken.c_str();
}

uint64_t cudaStandinCalls(const char* function) {
  const std::lock_guard lock(device().mutex);
  return device().calls[function];
}

void cudaStandinResetCalls() {
  const std::lock_guard lock(device().mutex);
  device().calls.clear();
}

void cudaStandinFail(const char* function, int error, int after) {
  const std::lock_guard lock(device().mutex);
  device().failures[function] = {error, after};
}

void cudaStandinCounters(const char* kernel, uint64_t* numbers, int count) {
  const std::lock_guard lock(device().mutex);
  const auto found = device().counters.find(kernel);
  if (found == device().counters.end()) return;
  const auto* from = reinterpret_cast<const uint64_t*>(&found->second.total);
  std::copy_n(from, std::min<size_t>(count, sizeof(ptx::Counters) / sizeof(uint64_t)), numbers);
}

void cudaStandinResetCounters() {
  const std::lock_guard lock(device().mutex);
  device().counters.clear();
}

}  // extern "C"
