#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/nn/arena.h"

namespace peerage::nn::cuda {

// kDevice: of the current device. kPinned: of the host, where copies of a stream may run from and
// to it.
enum class MemoryKind { kDevice, kPinned };

// Memory that is allocated at start and never in a step; zero. Movable.
class Memory {
 public:
  Memory() = default;

  // RESOURCE_EXHAUSTED, with the size, when there is not enough. Nothing is allocated for no bytes.
  static absl::StatusOr<Memory> Allocate(MemoryKind kind, size_t bytes);

  uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    MemoryKind kind;
    void operator()(uint8_t* data) const;
  };
  using Pointer = std::unique_ptr<uint8_t, Free>;

  Memory(Pointer data, size_t size) : data_(std::move(data)), size_(size) {}

  Pointer data_{nullptr, Free{MemoryKind::kDevice}};
  size_t size_ = 0;
};

// The memory of lay(arena), which must take the same each time.
template <typename Lay>
absl::StatusOr<Memory> AllocateFor(MemoryKind kind, const Lay& lay) {
  absl::StatusOr<Memory> memory = Memory::Allocate(kind, BytesFor(lay));
  if (!memory.ok()) return memory;
  Arena arena(memory->data(), memory->size(), Arena::Guard::kNo);
  lay(arena);
  return memory;
}

// Memory of the host and the same of the device, which a step fills and copies.
class StagedMemory {
 public:
  uint8_t* host() const { return host_.data(); }
  uint8_t* device() const { return device_.data(); }

  // Makes room for so many bytes. Nothing may be on its way.
  absl::Status Reserve(size_t bytes);

  // How often addresses have changed, also where that failed.
  int moves() const { return moves_; }

 private:
  Memory host_, device_;
  int moves_ = 0;
};

}  // namespace peerage::nn::cuda
