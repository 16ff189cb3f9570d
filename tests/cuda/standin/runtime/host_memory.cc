#include "host_memory.h"

#include <sys/mman.h>

#include "poison.h"

namespace standin {
namespace {

size_t WholePages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

const HostMemory::Ranges::value_type* HostMemory::Find(const Ranges& ranges, const void* memory) {
  const auto* address = static_cast<const uint8_t*>(memory);
  auto next = ranges.upper_bound(address);
  if (next == ranges.begin()) return nullptr;
  --next;
  return address < next->first + next->second ? &*next : nullptr;
}

void* HostMemory::Allocate(size_t bytes) {
  void* memory = mmap(nullptr, WholePages(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  Poison(memory, bytes);
  allocated_[static_cast<uint8_t*>(memory)] = bytes;
  return memory;
}

bool HostMemory::Free(void* memory) {
  const auto node = allocated_.extract(static_cast<uint8_t*>(memory));
  if (node.empty()) return false;
  const size_t bytes = WholePages(node.mapped());
  mmap(memory, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  freed_[node.key()] = bytes;
  return true;
}

bool HostMemory::Register(void* memory, size_t bytes) {
  auto* begin = static_cast<uint8_t*>(memory);
  for (const Ranges* ranges : {&allocated_, &registered_}) {
    const auto next = ranges->lower_bound(begin);
    if (Find(*ranges, begin) != nullptr) return false;
    if (next != ranges->end() && next->first < begin + bytes) return false;
  }
  registered_[begin] = bytes;
  return true;
}

bool HostMemory::Unregister(void* memory) {
  return registered_.erase(static_cast<uint8_t*>(memory)) == 1;
}

bool HostMemory::IsPinned(const void* memory, size_t bytes) const {
  for (const Ranges* ranges : {&allocated_, &registered_}) {
    const auto* range = Find(*ranges, memory);
    if (range != nullptr &&
        static_cast<const uint8_t*>(memory) + bytes <= range->first + range->second) {
      return true;
    }
  }
  return false;
}

}  // namespace standin
