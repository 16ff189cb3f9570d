#include "model/nn/cpu/storage.h"

#include <sys/mman.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage::nn::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

uint8_t* Map(size_t size) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<uint8_t*>(data);
}

// Maps more than asked and gives back what lies before and after the aligned part.
uint8_t* MapAligned(size_t size) {
  uint8_t* data = Map(size + kHugePage);
  if (data == nullptr) return nullptr;
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(data) % kHugePage) % kHugePage;
  if (before > 0) munmap(data, before);
  munmap(data + before + size, kHugePage - before);
  return data + before;
}

}  // namespace

absl::StatusOr<Storage> Storage::Allocate(size_t bytes, Pages pages) {
  if (bytes == 0) return Storage();
  const size_t unit = pages == Pages::kHuge ? kHugePage : size_t{4096};
  const size_t size = (bytes + unit - 1) / unit * unit;
  const bool too_large = size < bytes || size + kHugePage < size;
  uint8_t* data = too_large ? nullptr : pages == Pages::kHuge ? MapAligned(size) : Map(size);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes"));
  }
  // Best effort: without huge pages everything still works, a little slower.
  if (pages == Pages::kHuge) madvise(data, size, MADV_HUGEPAGE);
  return Storage(Mapping(data, Unmap{size}));
}

void Storage::Unmap::operator()(uint8_t* data) const {
  EndGuard(data, size);
  munmap(data, size);
}

}  // namespace peerage::nn::cpu
