#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace ptx {
namespace {

// Sets or clears the bits of [at, end).
void SetBits(u8* bits, u64 at, u64 end, bool value) {
  const auto set = [&](u64 index) {
    const u8 bit = static_cast<u8>(1u << index % 8);
    bits[index / 8] = static_cast<u8>(value ? bits[index / 8] | bit : bits[index / 8] & ~bit);
  };
  while (at < end && at % 8 != 0) set(at++);
  while (end > at && end % 8 != 0) set(--end);
  if (end > at) std::memset(bits + at / 8, value ? 0xff : 0, (end - at) / 8);
}

}  // namespace

void Memory::MarkFresh(u64 begin, u64 bytes) {
  if (!IsTracked(begin)) return;
  if (fresh_ == nullptr) {
    void* pages = mmap(nullptr, tracked / 8, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return;
    fresh_ = static_cast<u8*>(pages);
  }
  SetBits(fresh_, begin - first, begin - first + bytes, true);
}

void Memory::MarkWritten(u64 begin, u64 bytes) const {
  if (fresh_ == nullptr || !IsTracked(begin)) return;
  SetBits(fresh_, begin - first, begin - first + bytes, false);
}

bool Memory::HasFresh(u64 begin, u64 bytes) const {
  if (fresh_ == nullptr || !IsTracked(begin)) return false;
  u64 at = begin - first;
  const u64 end = at + bytes;
  for (; at < end && (at % 8 != 0 || end - at < 8); ++at) {
    if (fresh_[at / 8] >> at % 8 & 1) return true;
  }
  for (; end - at >= 8; at += 8) {
    if (fresh_[at / 8] != 0) return true;
  }
  for (; at < end; ++at) {
    if (fresh_[at / 8] >> at % 8 & 1) return true;
  }
  return false;
}

void Memory::CopyMarks(u64 to, u64 from, u64 bytes) const {
  if (fresh_ == nullptr || !IsTracked(to) || !IsTracked(from)) return;
  to -= first, from -= first;
  if ((to | from) % 8 == 0) {
    std::memmove(fresh_ + to / 8, fresh_ + from / 8, bytes / 8);
    to += bytes / 8 * 8, from += bytes / 8 * 8, bytes %= 8;
  }
  for (u64 i = 0; i < bytes; ++i) {
    SetBits(fresh_, to + i, to + i + 1, fresh_[(from + i) / 8] >> (from + i) % 8 & 1);
  }
}

}  // namespace ptx
