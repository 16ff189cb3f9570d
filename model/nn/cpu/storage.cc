#include "model/nn/cpu/storage.h"

#include <sys/mman.h>

#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

#if defined(__SANITIZE_ADDRESS__)
#define PEERAGE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PEERAGE_ASAN 1
#endif
#endif

#ifdef PEERAGE_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace peerage::nn::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

#ifdef PEERAGE_ASAN
constexpr size_t kGap = Arena::kAlignment;  // after each piece
void Forbid(const uint8_t* data, size_t size) { ASAN_POISON_MEMORY_REGION(data, size); }
void Allow(const uint8_t* data, size_t size) { ASAN_UNPOISON_MEMORY_REGION(data, size); }
#else
constexpr size_t kGap = 0;
void Forbid(const uint8_t*, size_t) {}
void Allow(const uint8_t*, size_t) {}
#endif

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
  Allow(data, size);
  munmap(data, size);
}

Arena::Arena(const Storage& storage) : data_(storage.data()), size_(storage.size()) {
  if (data_ != nullptr) Forbid(data_, size_);
}

uint8_t* Arena::Take(size_t bytes) {
  const size_t offset = next_;
  next_ += Padded(bytes) + kGap;
  used_ = std::max(used_, next_);
  if (data_ == nullptr) return nullptr;
  assert(used_ <= size_);
  Allow(data_ + offset, bytes);
  return data_ + offset;
}

}  // namespace peerage::nn::cpu
