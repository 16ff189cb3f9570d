#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"

namespace peerage::nn::cpu {

// kHuge asks the kernel for huge pages: for what is read whole in every step. The memory that is
// touched is then counted in units of 2 MiB.
enum class Pages { kNormal, kHuge };

// Anonymous memory of the process, aligned to its pages (huge ones to 2 MiB) and zero. Pages that
// nobody touches cost no memory. Movable.
class Storage {
 public:
  Storage() = default;

  // RESOURCE_EXHAUSTED, with the size, when the system refuses. Nothing is mapped for no bytes.
  static absl::StatusOr<Storage> Allocate(size_t bytes, Pages pages);

  uint8_t* data() const { return data_.get(); }
  size_t size() const { return data_.get_deleter().size; }

 private:
  struct Unmap {
    size_t size;
    void operator()(uint8_t* data) const;
  };
  using Mapping = std::unique_ptr<uint8_t, Unmap>;

  explicit Storage(Mapping data) : data_(std::move(data)) {}

  Mapping data_{nullptr, Unmap{0}};
};

// Hands out 64-byte aligned pieces of a storage, front to back. An arena without a storage only
// adds up what is taken. So whoever needs memory says what for in one function, which runs twice
// (BytesFor, AllocateFor): without memory for the size, then with a storage for the pieces.
//
// Under the address sanitizer a piece ends where it was asked to end: what lies between pieces may
// not be touched.
class Arena {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t Padded(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  Arena() = default;
  // The storage must outlive what is taken.
  explicit Arena(const Storage& storage);

  // Null without a storage. Precondition: the pieces, each padded to the alignment, fit.
  uint8_t* Take(size_t bytes);
  template <typename T>
  T* TakeArray(size_t count) {
    return reinterpret_cast<T*>(Take(count * sizeof(T)));
  }

  // Pieces that are taken from here on may be taken again after Rewind, for the same memory.
  size_t mark() const { return next_; }
  void Rewind(size_t mark) { next_ = mark; }

  size_t used() const { return used_; }  // at most at a time

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t next_ = 0;
  size_t used_ = 0;
};

// What lay(arena) takes.
template <typename Lay>
size_t BytesFor(const Lay& lay) {
  Arena sizes;
  lay(sizes);
  return sizes.used();
}

// The memory of lay(arena), which must take the same each time.
template <typename Lay>
absl::StatusOr<Storage> AllocateFor(Pages pages, const Lay& lay) {
  absl::StatusOr<Storage> storage = Storage::Allocate(BytesFor(lay), pages);
  if (!storage.ok()) return storage;
  Arena arena(*storage);
  lay(arena);
  return storage;
}

}  // namespace peerage::nn::cpu
