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
size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

void BoundArenas() {
  if (std::getenv("MALLOC_ARENA_MAX") != nullptr) return;
  mallopt(M_ARENA_MAX, std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2, 8));
}

IdleMemory::Process IdleMemory::ThisProcess(std::function<bool()> is_idle) {
  return {std::move(is_idle), ResidentBytes, [] { malloc_trim(0); }};
}

void IdleMemory::Start() {
  needed_ = process_.resident_bytes();
  LookLater();
}

void IdleMemory::LookLater() {
  lane_.RunAt(clock_.Now() + kInterval, [this] {
    Look();
    LookLater();
  });
}

void IdleMemory::Look() {
  const size_t resident = process_.resident_bytes();
  needed_ = std::min(needed_, resident);
  if (resident < needed_ + kMuch || !process_.is_idle()) return;
  process_.give_back();
  needed_ = process_.resident_bytes();
}

}  // namespace peerage
