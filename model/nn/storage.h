#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace peerage::nn {

// Bytes from LibTorch's CPU allocator, 64-byte aligned and not initialised: pages that nobody
// touches cost no memory. Movable; freed with the last copy.
struct Storage {
  std::shared_ptr<void> owner;  // the at::Tensor behind `data`
  uint8_t* data = nullptr;
  size_t size = 0;

  float* floats() const { return reinterpret_cast<float*>(data); }
};

// kHuge asks the kernel for huge pages: for what is read whole in every step. The memory that is
// touched is then counted in units of 2 MiB.
enum class Pages { kNormal, kHuge };

// RESOURCE_EXHAUSTED, with the size, when the allocator refuses.
absl::StatusOr<Storage> Allocate(size_t bytes, Pages pages = Pages::kNormal);

// Hands out 64-byte aligned pieces of one storage, front to back. Without a storage it only adds up
// what is taken: a dry run that says how large the storage must be.
class Arena {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t Padded(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  Arena() = default;
  explicit Arena(Storage storage) : storage_(std::move(storage)) {}

  bool dry_run() const { return storage_.data == nullptr; }

  // Null in a dry run. Precondition: the pieces, each padded to the alignment, fit.
  uint8_t* Take(size_t bytes);
  float* TakeFloats(size_t count) { return reinterpret_cast<float*>(Take(count * sizeof(float))); }

  size_t used() const { return used_; }

 private:
  Storage storage_;
  size_t used_ = 0;
};

// Keeps LibTorch from starting threads of its own. Called once, before anything else of it.
void InitializeTorch();

}  // namespace peerage::nn
