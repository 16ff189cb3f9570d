// Device memory as kernels see it: ranges of device addresses and what is known of their words.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

namespace ptx {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i8 = int8_t;
using i16 = int16_t;
using i32 = int32_t;
using i64 = int64_t;

// The bytes of address a lie at a + alias, so that host code which follows a device pointer meets
// an unmapped page.
class Memory {
 public:
  struct Range {
    u64 begin = 0, end = 0;
  };
  void Add(u64 begin, u64 bytes) { ranges_[begin] = begin + bytes; }
  bool Remove(u64 begin) { return ranges_.erase(begin) == 1; }
  // The allocation that holds `address`; empty when there is none.
  Range Find(u64 address) const {
    auto next = ranges_.upper_bound(address);
    if (next == ranges_.begin()) return {};
    --next;
    return address < next->second ? Range{next->first, next->second} : Range{};
  }
  bool Holds(u64 address, u64 bytes) const {
    const Range r = Find(address);
    return address >= r.begin && address + bytes <= r.end && address + bytes >= address;
  }
  u8* At(u64 address) const { return reinterpret_cast<u8*>(address + alias); }
  u64 alias = 0;

  // Which blocks touched each 32-bit word last, for races between blocks (global_checks.cc has the
  // encoding). Zeros at first; null: not kept.
  struct Touch {
    u32 writer = 0, reader = 0;
  };
  Touch* touches = nullptr;  // of the word at `first`
  u64 first = 0;
  mutable u32 last_serial = 0;  // of the blocks that ran so far
  u64 tracked = u64{1} << 40;   // bytes from `first` on of which something may be known
  bool IsTracked(u64 address) const { return address - first < tracked; }

  // Places module variables: an address of so many bytes, already added. Throws Error when there is
  // no room.
  std::function<u64(u64 bytes)> allocate;

  // Bytes that nobody has written since they were allocated. The runtime says when: MarkFresh for a
  // new allocation, MarkWritten for what copies, fills and libraries write; kernels say it
  // themselves. Memory that was never marked fresh counts as written. Ranges must be tracked.
  void MarkFresh(u64 begin, u64 bytes);
  void MarkWritten(u64 begin, u64 bytes) const;
  // A copy within the device brings what is known of its source.
  void CopyMarks(u64 to, u64 from, u64 bytes) const;
  // Whether anything of a range is fresh.
  bool HasFresh(u64 begin, u64 bytes) const;
  bool keeps_marks() const { return fresh_ != nullptr; }

 private:
  std::map<u64, u64> ranges_;
  u8* fresh_ = nullptr;  // a bit for each byte; null when nothing was ever marked fresh
};

}  // namespace ptx
