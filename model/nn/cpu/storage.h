#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "model/nn/arena.h"

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

using nn::Arena;
using nn::BytesFor;

// A guarded arena of a storage, which must outlive what is taken.
inline Arena ArenaOf(const Storage& storage) {
  return Arena(storage.data(), storage.size(), Arena::Guard::kYes);
}

// The memory of lay(arena), which must take the same each time.
template <typename Lay>
absl::StatusOr<Storage> AllocateFor(Pages pages, const Lay& lay) {
  absl::StatusOr<Storage> storage = Storage::Allocate(BytesFor(lay), pages);
  if (!storage.ok()) return storage;
  Arena arena = ArenaOf(*storage);
  lay(arena);
  return storage;
}

}  // namespace peerage::nn::cpu
