#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace standin {

// Rows of host memory that a queued copy reads or writes.
struct HostSpan {
  uint8_t* data = nullptr;
  size_t width = 0, height = 0, pitch = 0;
  const uint8_t* end() const { return height == 0 ? data : data + (height - 1) * pitch + width; }
  bool Overlaps(const HostSpan& other) const { return data < other.end() && other.data < end(); }
};

// Pinned host memory: what cudaHostAlloc gave and what was registered. Freed memory keeps its
// addresses and cannot be followed any more.
class HostMemory {
 public:
  // Filled with 0xff, as nobody promises zeros. Null: out of memory.
  void* Allocate(size_t bytes);
  // False: Allocate did not give it, or it was freed.
  bool Free(void* memory);
  // False: it overlaps pinned memory.
  bool Register(void* memory, size_t bytes);
  bool Unregister(void* memory);

  bool IsPinned(const void* memory, size_t bytes) const;
  bool WasFreed(const void* memory) const { return Find(freed_, memory) != nullptr; }
  size_t allocations() const { return allocated_.size(); }

 private:
  using Ranges = std::map<const uint8_t*, size_t>;  // begin, bytes
  static const Ranges::value_type* Find(const Ranges& ranges, const void* memory);

  Ranges allocated_, registered_, freed_;
};

}  // namespace standin
