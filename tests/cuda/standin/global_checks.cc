// What a device would not notice in global memory: plain accesses of two blocks of a launch to one
// word, of which one writes, and reads of bytes that nobody wrote since they were allocated.
//
// A word's writer and reader are serials of blocks with three flags. Accesses of less than a word
// count for its halves, so that rows of odd widths may meet in a word; single bytes are not
// tracked.
#include <algorithm>
#include <bit>

#include "access.h"

namespace ptx {
namespace {

constexpr u32 kLow = 1u << 31, kHigh = 1u << 30, kByAtomic = 1u << 29;
constexpr u32 kSerial = kByAtomic - 1;
constexpr u32 kManyReaders = kByAtomic;  // of a reader: others of the launch read it too

class Tracker {
 public:
  Tracker(Warp& w, const Inst& i)
      : b_(*w.block), w_(w), inst_(i), first_(b_.shared_state->first_serial), self_(b_.serial) {}

  void Word(Memory::Touch& t, u32 halves, int lane, Access access) {
    const u32 writer = t.writer & kSerial, reader = t.reader & kSerial;
    const bool by_atomic = (t.writer & kByAtomic) != 0;
    if (writer >= first_ && writer != self_ && (t.writer & halves) != 0 &&
        !(access == Access::kAtomic && by_atomic) && !Knows(writer)) {
      Report(lane, access == Access::kAtomic ? "an atomic on what another block wrote plainly"
                   : by_atomic && access == Access::kRead
                       ? "a block reads what another changes by atomics"
                   : by_atomic               ? "a block writes what another changes by atomics"
                   : access == Access::kRead ? "a block reads what another writes"
                                             : "two blocks write one word");
    }
    const bool many = (t.reader & kManyReaders) != 0;
    if (access == Access::kRead) return Reads(t, halves, reader, many);
    if (reader >= first_ && (many || reader != self_) && (t.reader & halves) != 0 &&
        (many || !Knows(reader))) {
      Report(lane, access == Access::kAtomic ? "an atomic on what another block reads plainly"
                                             : "a block writes what another reads");
    }
    const u32 kept = writer == self_ ? t.writer & (kLow | kHigh) : 0;
    // What the block wrote plainly stays so: its own atomics do not order it.
    const bool is_atomic = access == Access::kAtomic && (writer != self_ || by_atomic);
    t.writer = self_ | halves | kept | (is_atomic ? kByAtomic : 0);
  }

 private:
  void Reads(Memory::Touch& t, u32 halves, u32 reader, bool many) const {
    const u32 before = t.reader & (kLow | kHigh);
    if (reader < first_) {
      t.reader = self_ | halves;
    } else if (reader == self_ && !many) {
      t.reader = self_ | halves | before;
    } else {
      // Halves read by different blocks: which by whom is forgotten, so that nobody is blamed.
      t.reader = self_ | kManyReaders | (before == halves ? halves : 0);
    }
  }
  bool Knows(u32 serial) const {
    const u32 index = serial - first_;
    return index / 64 < b_.known.size() && (b_.known[index / 64] >> index % 64 & 1) != 0;
  }
  void Report(int lane, const char* what) { b_.Report(inst_, w_.first_thread + lane, what); }

  BlockState& b_;
  Warp& w_;
  const Inst& inst_;
  const u32 first_, self_;
};

// All words of a range in one go when nobody else of the launch touched them; false: one by one.
bool TrackRange(Warp& w, Memory::Touch* touches, u64 words, bool write) {
  const u32 first = w.block->shared_state->first_serial, self = w.block->serial;
  u32 others = 0;
  for (u64 n = 0; n < words; ++n) {
    const u32 writer = touches[n].writer & kSerial, reader = touches[n].reader & kSerial;
    const bool foreign_writer = writer >= first && writer != self;
    const bool many = (touches[n].reader & kManyReaders) != 0;
    const bool foreign_reader = reader >= first && (many || reader != self);
    others |= static_cast<u32>(foreign_writer) | static_cast<u32>(foreign_reader);
  }
  if (others != 0) return false;
  const u32 mine = self | kLow | kHigh;
  if (write) {
    for (u64 n = 0; n < words; ++n) touches[n].writer = mine;
  } else {
    for (u64 n = 0; n < words; ++n) touches[n].reader = mine;
  }
  return true;
}

void TrackBlocks(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, Access access) {
  const Memory& memory = *w.block->memory;
  if (bytes >= 4 && access != Access::kAtomic && IsContiguous(a, m, bytes) &&
      TrackRange(w, memory.touches + (a.v[0] - memory.first) / 4, u64{kLanes} * bytes / 4,
                 access == Access::kWrite)) {
    return;
  }
  Tracker tracker(w, i);
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    const u64 offset = a.v[l] - memory.first;
    const u32 halves = bytes >= 4 ? kLow | kHigh : (offset & 2) != 0 ? kHigh : kLow;
    for (u64 word = offset / 4; word <= (offset + bytes - 1) / 4; ++word) {
      tracker.Word(memory.touches[word], halves, l, access);
    }
  }
}

void TrackWritten(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, Access access) {
  const Memory& memory = *w.block->memory;
  if (IsContiguous(a, m, bytes)) {
    const u64 length = u64{kLanes} * bytes;
    if (access == Access::kWrite) return memory.MarkWritten(a.v[0], length);
    if (!memory.HasFresh(a.v[0], length)) return;
  }
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    if (access != Access::kWrite) {
      if (!memory.HasFresh(a.v[l], bytes)) continue;
      w.block->Report(i, w.first_thread + l, "read of global memory that nobody wrote");
    }
    memory.MarkWritten(a.v[l], bytes);  // of a read: so that it is reported once
  }
}

}  // namespace

void CheckGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  u64 low = ~u64{0}, high = 0;
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    const u64 x = a.v[std::countr_zero(rest)];
    low = std::min(low, x);
    high = std::max(high, x);
  }
  if (low >= w.last_range.begin && high + bytes <= w.last_range.end) return;
  w.last_range = w.block->memory->Find(low);
  if (low >= w.last_range.begin && high + bytes <= w.last_range.end) return;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    if (!w.block->memory->Holds(a.v[l], bytes)) {
      throw Error("global access out of bounds: " + Where(*w.block, i, w.first_thread + l));
    }
  }
}

void TrackGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, Access access) {
  const Memory& memory = *w.block->memory;
  if (!w.block->options->check_global) return;
  if (bytes >= 2 && memory.touches != nullptr) TrackBlocks(w, i, a, m, bytes, access);
  if (memory.keeps_marks()) TrackWritten(w, i, a, m, bytes, access);
}

void PassKnowledge(Warp& w, u64 address, bool publishes) {
  BlockState& b = *w.block;
  LaunchState& launch = *b.shared_state;
  publishes = publishes || b.fenced;
  const std::lock_guard lock(launch.release_mutex);
  const auto found = launch.releases.find(address);
  if (found == launch.releases.end() && !publishes) return;
  Blocks& published = found != launch.releases.end() ? found->second : launch.releases[address];
  if (b.known.size() < published.size()) b.known.resize(published.size());
  for (size_t n = 0; n < published.size(); ++n) b.known[n] |= published[n];
  if (!publishes) return;
  const u32 index = b.serial - launch.first_serial;
  published.resize(std::max<size_t>(b.known.size(), index / 64 + 1));
  for (size_t n = 0; n < b.known.size(); ++n) published[n] |= b.known[n];
  published[index / 64] |= u64{1} << index % 64;
}

}  // namespace ptx
