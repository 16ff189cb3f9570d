// What a device would not notice in shared memory: races between threads that no barrier orders,
// reads of what nobody wrote or of what cp.async is still bringing, accesses beyond an array.
#include <algorithm>
#include <bit>

#include "access.h"

namespace ptx {
namespace {

class Tracker {
 public:
  Tracker(Warp& w, const Inst& i, int lane)
      : b_(*w.block),
        w_(w),
        inst_(i),
        thread_(static_cast<u16>(w.first_thread + lane)),
        self_(1u << w.index) {}

  void Word(Shadow& s, u8 bytes, Access access) {
    if (s.is_red != 0) throw Error("shared access beyond an array: " + Where(b_, inst_, thread_));
    if (s.copies != 0) Report("access to what cp.async is still bringing");
    if (access != Access::kWrite && (s.written & bytes) != bytes) {
      Report("read of shared memory that nobody wrote");
    }
    AfterWrite(s, bytes, access);
    if (access != Access::kRead) AfterRead(s, bytes, access);
    if (access != Access::kAtomic) AfterAtomic(s, access);
    if (access == Access::kRead) return Read(s, bytes);
    s.written |= bytes;
    if (access == Access::kAtomic) return ChangeAtomically(s);
    s.write_stamp = b_.now;
    s.writer = thread_;
    s.write_sync = w_.sync_epoch;
    s.write_bytes = bytes;
  }

 private:
  // Whether what warp `v` did at `stamp` came before; w's own: also by bar.warp.sync.
  bool IsBefore(int v, u32 stamp) const { return stamp < w_.clock[static_cast<size_t>(v)]; }
  bool IsBeforeInWarp(u32 stamp, u16 sync) const {
    return IsBefore(w_.index, stamp) || sync != w_.sync_epoch;
  }
  bool AnyAfter(u32 warps, u32 stamp) const {
    for (warps &= ~self_; warps != 0; warps &= warps - 1) {
      if (!IsBefore(std::countr_zero(warps), stamp)) return true;
    }
    return false;
  }

  void AfterWrite(const Shadow& s, u8 bytes, Access access) {
    if (s.write_stamp == 0 || s.writer == thread_ || (s.write_bytes & bytes) == 0) return;
    const int writer = s.writer / kLanes;
    const bool ordered = writer == w_.index ? IsBeforeInWarp(s.write_stamp, s.write_sync)
                                            : IsBefore(writer, s.write_stamp);
    if (ordered) return;
    Report(access == Access::kRead    ? "read-after-write race in shared memory"
           : access == Access::kWrite ? "write-after-write race in shared memory"
                                      : "race of an atomic and a write in shared memory");
  }

  void AfterRead(const Shadow& s, u8 bytes, Access access) {
    if (s.read_stamp == 0 || (s.read_bytes & bytes) == 0) return;
    const bool in_warp = (s.read_warps & self_) != 0 && s.reader != thread_ &&
                         !IsBeforeInWarp(s.read_stamp, s.read_sync);
    if (!in_warp && !AnyAfter(s.read_warps, s.read_stamp)) return;
    Report(access == Access::kWrite ? "write-after-read race in shared memory"
                                    : "race of an atomic and a read in shared memory");
  }

  void AfterAtomic(const Shadow& s, Access access) {
    if (s.atomic_stamp == 0 || !AnyAfter(s.atomic_warps, s.atomic_stamp)) return;
    Report(access == Access::kRead ? "race of a read and an atomic in shared memory"
                                   : "race of a write and an atomic in shared memory");
  }

  void Read(Shadow& s, u8 bytes) const {
    if (s.read_stamp != b_.now) {
      s.read_stamp = b_.now;
      s.read_warps = self_;
      s.reader = thread_;
      s.read_bytes = bytes;
    } else if (s.read_warps == self_ && s.read_sync != w_.sync_epoch) {
      s.reader = thread_;  // what the warp read before came before, by bar.warp.sync
      s.read_bytes = bytes;
    } else {
      s.read_warps |= self_;
      if (s.reader != thread_) s.reader = kSeveral;
      // Parts of a word read by several: which by whom is forgotten, so that nobody is blamed.
      if (s.read_bytes != bytes) s.read_bytes = 0;
    }
    s.read_sync = w_.sync_epoch;
  }

  void ChangeAtomically(Shadow& s) const {
    if (s.atomic_stamp != b_.now) s.atomic_warps = 0;
    s.atomic_stamp = b_.now;
    s.atomic_warps |= self_;
  }

  void Report(const char* what) { b_.Report(inst_, thread_, what); }

  BlockState& b_;
  Warp& w_;
  const Inst& inst_;
  const u16 thread_;
  const u32 self_;
};

}  // namespace

void TrackShared(Warp& w, const Inst& i, u64 address, u32 bytes, int lane, Access access) {
  Tracker tracker(w, i, lane);
  Shadow* shadow = w.block->shadow.data() + address / 4;
  if (bytes < 4) {
    return tracker.Word(*shadow, static_cast<u8>(((1u << bytes) - 1) << address % 4), access);
  }
  for (u32 word = 0; word < bytes / 4; ++word) tracker.Word(shadow[word], 15, access);
}

void CheckSharedBounds(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  const u64 size = w.block->shared.size();
  u64 high = 0;
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    high = std::max(high, a.v[std::countr_zero(rest)]);
  }
  if (high + bytes <= size) return;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    if (a.v[l] + bytes > size) {
      throw Error("shared access out of bounds: " + Where(*w.block, i, w.first_thread + l));
    }
  }
}

void CheckShared(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, Access access) {
  CheckSharedBounds(w, i, a, m, bytes);
  if (!w.block->options->check_shared) return;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    TrackShared(w, i, a.v[l], bytes, l, access);
  }
}

}  // namespace ptx
