#include "server/idle_memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace peerage {
namespace {

// The second field of /proc/self/statm (proc(5)).
int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t SpareBytes() {
  const struct mallinfo2 heap = mallinfo2();
  return ResidentBytes() - static_cast<int64_t>(heap.uordblks + heap.hblkhd);
}

}  // namespace

void BoundArenas() {
  if (std::getenv("MALLOC_ARENA_MAX") != nullptr) return;
  mallopt(M_ARENA_MAX, std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2, 8));
}

IdleMemory::Process IdleMemory::ThisProcess(std::function<bool()> is_idle) {
  return {std::move(is_idle), SpareBytes, [] { malloc_trim(0); }};
}

void IdleMemory::Start() {
  no_heaps_ = process_.spare_bytes();
  LookLater();
}

void IdleMemory::LookLater() {
  lane_.RunAt(clock_.Now() + kInterval, [this] {
    Look();
    LookLater();
  });
}

void IdleMemory::Look() {
  const int64_t spare = process_.spare_bytes();
  no_heaps_ = std::min(no_heaps_, spare);
  if (spare < no_heaps_ + kMuch || !process_.is_idle()) return;
  process_.give_back();
  no_heaps_ = process_.spare_bytes();
}

}  // namespace peerage
