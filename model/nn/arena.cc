#include "model/nn/arena.h"

#include <cassert>

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

namespace peerage::nn {
namespace {

#ifdef PEERAGE_ASAN
constexpr size_t kGap = Arena::kAlignment;  // after each piece
void Forbid(const uint8_t* data, size_t size) { ASAN_POISON_MEMORY_REGION(data, size); }
void Allow(const uint8_t* data, size_t size) { ASAN_UNPOISON_MEMORY_REGION(data, size); }
#else
constexpr size_t kGap = 0;
void Forbid(const uint8_t*, size_t) {}
void Allow(const uint8_t*, size_t) {}
#endif

}  // namespace

void EndGuard(const uint8_t* data, size_t size) { Allow(data, size); }

Arena::Arena(uint8_t* data, size_t size, Guard guard) : data_(data), size_(size), guard_(guard) {
  if (data_ != nullptr && guard_ == Guard::kYes) Forbid(data_, size_);
}

uint8_t* Arena::Take(size_t bytes) {
  const size_t offset = next_;
  next_ += Padded(bytes) + kGap;
  used_ = std::max(used_, next_);
  if (data_ == nullptr) return nullptr;
  assert(used_ <= size_);
  if (guard_ == Guard::kYes) Allow(data_ + offset, bytes);
  return data_ + offset;
}

}  // namespace peerage::nn
