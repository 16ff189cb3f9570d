#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace peerage::nn {

// Hands out 64-byte aligned pieces of some memory, of the host or of a device, front to back. An
// arena without memory only adds up what is taken. So whoever needs memory says what for in one
// function, which runs twice: without memory for the size (BytesFor), then for the pieces.
//
// Under the address sanitizer a piece of guarded memory ends where it was asked to end: what lies
// between pieces may not be touched.
class Arena {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t Padded(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  enum class Guard { kNo, kYes };  // kYes: memory that the host can touch

  Arena() = default;
  // The memory must outlive what is taken, and be aligned.
  Arena(uint8_t* data, size_t size, Guard guard);

  // Null without memory. Precondition: the pieces, each padded to the alignment, fit.
  uint8_t* Take(size_t bytes);
  template <typename T>
  T* TakeArray(size_t count) {
    return reinterpret_cast<T*>(Take(count * sizeof(T)));
  }

  // The next piece begins at a multiple of this, of the memory's beginning. Precondition: a
  // multiple of kAlignment.
  void AlignTo(size_t alignment) { next_ = (next_ + alignment - 1) / alignment * alignment; }

  // Pieces that are taken from here on may be taken again after Rewind, for the same memory.
  size_t mark() const { return next_; }
  void Rewind(size_t mark) { next_ = mark; }

  size_t used() const { return used_; }  // at most at a time

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Guard guard_ = Guard::kNo;
  size_t next_ = 0;
  size_t used_ = 0;
};

// Lets guarded memory be touched again, before it is given back.
void EndGuard(const uint8_t* data, size_t size);

// What lay(arena) takes.
template <typename Lay>
size_t BytesFor(const Lay& lay) {
  Arena sizes;
  lay(sizes);
  return sizes.used();
}

}  // namespace peerage::nn
