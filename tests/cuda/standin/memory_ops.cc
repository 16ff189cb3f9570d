// Loads, stores, atomics and asynchronous copies: checked, counted, then done.
#include <algorithm>

#include "ops.h"

namespace ptx {
namespace {

struct Addresses {
  alignas(64) u64 v[32];
};

void Collect(Warp& w, const Inst& i, u32 reg, Addresses& out) {
  if (i.address64) {
    const u64* a = w.q(reg);
    for (int l = 0; l < 32; ++l) out.v[l] = a[l] + static_cast<u64>(i.offset);
  } else {
    const u32* a = w.w(reg);
    for (int l = 0; l < 32; ++l) out.v[l] = u64{a[l]} + static_cast<u64>(i.offset);
  }
}

void CheckAligned(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  u64 low = 0;
  for (u32 mm = m; mm; mm &= mm - 1) low |= a.v[std::countr_zero(mm)];
  if ((low & (bytes - 1)) == 0) return;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    if (a.v[l] & (bytes - 1))
      throw Error("misaligned access: " + Where(*w.block, i, w.first_thread + l));
  }
}

void CheckGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  u64 low = ~u64{0}, high = 0;
  for (u32 mm = m; mm; mm &= mm - 1) {
    const u64 x = a.v[std::countr_zero(mm)];
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

// Plain accesses of two blocks to one word, of which one writes, in one launch. Words that only
// atomics touch are fine.
void TrackGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, bool write) {
  BlockState& b = *w.block;
  if (!b.options->check_global || b.memory->touches == nullptr) return;
  constexpr u64 kMany = 0xffffffff;
  const u64 tag = b.tag, launch = tag >> 32;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    const u64 offset = a.v[l] - b.memory->first;
    for (u64 word = offset / 4; word <= (offset + bytes - 1) / 4; ++word) {
      Memory::Touch& t = b.memory->touches[word];
      const bool other_wrote = t.writer >> 32 == launch && t.writer != tag;
      if (write) {
        const bool other_read = t.reader >> 32 == launch && t.reader != tag;
        if (other_wrote || other_read) {
          b.Report(i, w.first_thread + l,
                   other_wrote ? "two blocks write one word" : "a block writes what another reads");
        }
        t.writer = tag;
      } else {
        if (other_wrote) b.Report(i, w.first_thread + l, "a block reads what another writes");
        t.reader = t.reader >> 32 != launch || t.reader == tag ? tag : launch << 32 | kMany;
      }
    }
  }
}

u64 Sectors(const Addresses& a, u32 m, u32 bytes) {
  u64 seen[64];
  int n = 0;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    for (u64 s = a.v[l] / 32; s <= (a.v[l] + bytes - 1) / 32; ++s) {
      bool known = false;
      for (int j = n - 1; j >= 0 && !known; --j) known = seen[j] == s;
      if (!known) seen[n++] = s;
    }
  }
  return n;
}

// `least`: what the same bytes would need at best.
void CountAccess(Warp& w, const Inst& i, u64 units, u64 least) {
  LineCounters& c =
      w.block->accesses[static_cast<size_t>(&i - w.block->launch->kernel->code.data())];
  ++c.requests;
  c.units += units;
  c.least += least;
}

void CountGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, bool store) {
  if (!w.block->options->count) return;
  Counters& c = w.block->counters;
  const u64 sectors = Sectors(a, m, bytes);
  CountAccess(w, i, sectors, (u64{bytes} * std::popcount(m) + 31) / 32);
  if (store) {
    ++c.store_requests;
    c.store_sectors += sectors;
  } else {
    ++c.load_requests;
    c.load_sectors += sectors;
    c.load_bytes += u64{bytes} * std::popcount(m);
  }
}

// 32 banks of 4 bytes; wider accesses go in 2 or 4 passes of lanes.
void CountShared(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  if (!w.block->options->count) return;
  Counters& c = w.block->counters;
  ++c.shared_requests;
  const u64 before = c.shared_wavefronts, conflicts = c.bank_conflicts;
  const int lanes = bytes >= 16 ? 8 : bytes == 8 ? 16 : 32;
  for (int first = 0; first < 32; first += lanes) {
    u32 part = m >> first & (lanes == 32 ? kAll : (1u << lanes) - 1);
    if (part == 0) continue;
    u8 words[32] = {};
    u32 word_of[32][8];
    u32 most = 1;
    for (; part; part &= part - 1) {
      const int l = first + std::countr_zero(part);
      for (u32 b = 0; b < std::max(bytes, 4u); b += 4) {
        const u32 word = static_cast<u32>((a.v[l] + b) / 4), bank = word & 31;
        bool known = false;
        for (u32 j = 0; j < words[bank] && !known; ++j) known = word_of[bank][j] == word;
        if (known || words[bank] == 8) continue;
        word_of[bank][words[bank]++] = word;
        most = std::max<u32>(most, words[bank]);
      }
    }
    c.shared_wavefronts += most;
    c.bank_conflicts += most - 1;
  }
  CountAccess(w, i, c.shared_wavefronts - before,
              c.shared_wavefronts - before - (c.bank_conflicts - conflicts));
}

void Track(Warp& w, const Inst& i, u64 address, u32 bytes, int lane, bool write) {
  BlockState& b = *w.block;
  const u16 thread = static_cast<u16>(w.first_thread + lane);
  const auto same_warp = [&](u16 other) { return other / 32 == thread / 32; };
  for (u64 word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
    Shadow& s = b.shadow[word];
    if (s.red) throw Error("shared access beyond an array: " + Where(b, i, thread));
    const bool other_wrote = s.write_epoch == b.epoch && s.writer != thread;
    const bool ordered = same_warp(s.writer) && (s.write_sync < w.sync_epoch || bytes < 4);
    if (write) {
      if (other_wrote && !ordered) b.Report(i, thread, "write-after-write race in shared memory");
      if (s.read_epoch == b.epoch && !(s.reader == thread && !s.many_readers) &&
          !(same_warp(s.reader) && !s.many_readers)) {
        b.Report(i, thread, "write-after-read race in shared memory");
      }
      s.write_epoch = b.epoch;
      s.writer = thread;
      s.write_sync = w.sync_epoch;
      s.written = true;
    } else {
      if (!s.written) b.Report(i, thread, "read of shared memory that nobody wrote");
      if (other_wrote && !ordered) b.Report(i, thread, "read-after-write race in shared memory");
      if (s.read_epoch != b.epoch) {
        s.read_epoch = b.epoch;
        s.reader = thread;
        s.many_readers = false;
      } else if (!same_warp(s.reader)) {
        s.many_readers = true;
      }
    }
  }
}

void CheckShared(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, bool write) {
  const u64 size = w.block->shared.size();
  for (u32 mm = m; mm; mm &= mm - 1) {
    const int l = std::countr_zero(mm);
    if (a.v[l] + bytes > size) {
      throw Error("shared access out of bounds: " + Where(*w.block, i, w.first_thread + l));
    }
    if (w.block->options->check_shared) Track(w, i, a.v[l], bytes, l, write);
  }
}

template <class T, class S>
void LoadLanes(Warp& w, const Inst& i, u32 m, const u8* base, const Addresses& a) {
  for (int v = 0; v < i.vec; ++v) {
    S* d = w.at<S>(i.r[v]);
    ForLanes(m, [&](int l) {
      T x;
      std::memcpy(&x, base + a.v[l] + v * sizeof(T), sizeof(T));
      d[l] = static_cast<S>(x);
    });
  }
}
template <class T, class S>
void StoreLanes(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  for (int v = 0; v < i.vec; ++v) {
    const S* d = w.at<S>(i.r[v]);
    for (u32 mm = m; mm; mm &= mm - 1) {
      const int l = std::countr_zero(mm);
      const T x = static_cast<T>(d[l]);
      std::memcpy(base + a.v[l] + v * sizeof(T), &x, sizeof(T));
    }
  }
}

void Load(Warp& w, const Inst& i, u32 m, const u8* base, const Addresses& a) {
  switch (i.bytes | i.mode << 4) {  // mode: 1 signed, 2 into 64-bit registers
    case 33:
      return LoadLanes<u8, u64>(w, i, m, base, a);
    case 34:
      return LoadLanes<u16, u64>(w, i, m, base, a);
    case 36:
      return LoadLanes<u32, u64>(w, i, m, base, a);
    case 49:
      return LoadLanes<int8_t, u64>(w, i, m, base, a);
    case 50:
      return LoadLanes<int16_t, u64>(w, i, m, base, a);
    case 52:
      return LoadLanes<i32, u64>(w, i, m, base, a);
    case 1:
      return LoadLanes<u8, u32>(w, i, m, base, a);
    case 2:
      return LoadLanes<u16, u32>(w, i, m, base, a);
    case 4:
    case 20:
      return LoadLanes<u32, u32>(w, i, m, base, a);
    case 8:
    case 24:
      return LoadLanes<u64, u64>(w, i, m, base, a);
    case 17:
      return LoadLanes<int8_t, u32>(w, i, m, base, a);
    default:
      return LoadLanes<int16_t, u32>(w, i, m, base, a);
  }
}
void Store(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  switch (i.bytes) {
    case 1:
      return StoreLanes<u8, u32>(w, i, m, base, a);
    case 2:
      return StoreLanes<u16, u32>(w, i, m, base, a);
    case 4:
      return StoreLanes<u32, u32>(w, i, m, base, a);
    default:
      return StoreLanes<u64, u64>(w, i, m, base, a);
  }
}

const u8* GlobalBase(Warp& w) { return reinterpret_cast<const u8*>(w.block->memory->alias); }

}  // namespace

void LoadParameter(Warp& w, const Inst& i, u32 m) {
  const auto& parameters = w.block->launch->parameters;
  Addresses a;
  Collect(w, i, i.r[i.vec], a);  // by name, or by a register that was computed from it
  for (u32 mm = m; mm; mm &= mm - 1) {
    const u64 at = a.v[std::countr_zero(mm)];
    if (at + i.bytes * i.vec > parameters.size()) {
      throw Error("read behind the parameters: " + Where(*w.block, i, w.first_thread));
    }
  }
  Load(w, i, m, parameters.data(), a);
}

void LoadGlobal(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  const u32 bytes = i.bytes * i.vec;
  CheckGlobal(w, i, a, m, bytes);
  CheckAligned(w, i, a, m, bytes);
  CountGlobal(w, i, a, m, bytes, false);
  TrackGlobal(w, i, a, m, bytes, false);
  Load(w, i, m, GlobalBase(w), a);
}

void StoreGlobal(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  const u32 bytes = i.bytes * i.vec;
  CheckGlobal(w, i, a, m, bytes);
  CheckAligned(w, i, a, m, bytes);
  CountGlobal(w, i, a, m, bytes, true);
  if (bytes >= 4) TrackGlobal(w, i, a, m, bytes, true);  // halves of a word may have two owners
  Store(w, i, m, const_cast<u8*>(GlobalBase(w)), a);
}

void LoadShared(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  for (u64& x : a.v) x &= ~kSharedWindow;
  const u32 bytes = i.bytes * i.vec;
  CheckShared(w, i, a, m, bytes, false);
  CheckAligned(w, i, a, m, bytes);
  CountShared(w, i, a, m, bytes);
  Load(w, i, m, w.block->shared.data(), a);
}

void StoreShared(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  for (u64& x : a.v) x &= ~kSharedWindow;
  const u32 bytes = i.bytes * i.vec;
  CheckShared(w, i, a, m, bytes, true);
  CheckAligned(w, i, a, m, bytes);
  CountShared(w, i, a, m, bytes);
  Store(w, i, m, w.block->shared.data(), a);
}

namespace {
bool IsShared(Warp& w, const Inst& i, u32 m) {
  return (w.q(i.r[i.vec])[std::countr_zero(m)] & kSharedWindow) != 0;
}
}  // namespace
void LoadGeneric(Warp& w, const Inst& i, u32 m) {
  IsShared(w, i, m) ? LoadShared(w, i, m) : LoadGlobal(w, i, m);
}
void StoreGeneric(Warp& w, const Inst& i, u32 m) {
  IsShared(w, i, m) ? StoreShared(w, i, m) : StoreGlobal(w, i, m);
}

// ---- atomics; mode: 0 add, 1 min, 2 max, 3 and, 4 or, 5 xor, 6 exch, 7 cas; +8 signed, +16 f32
namespace {
template <class U>
U Combine(const Inst& i, U old, U b, U c) {
  using S = std::make_signed_t<U>;
  const bool is_signed = i.mode & 8;
  switch (i.mode & 7) {
    case 0:
      if constexpr (sizeof(U) == 4) {
        if (i.mode & 16) return Bits(F32(old) + F32(b));
      }
      return old + b;
    case 1:
      return is_signed ? static_cast<U>(std::min(S(old), S(b))) : std::min(old, b);
    case 2:
      return is_signed ? static_cast<U>(std::max(S(old), S(b))) : std::max(old, b);
    case 3:
      return old & b;
    case 4:
      return old | b;
    case 5:
      return old ^ b;
    case 6:
      return b;
    default:
      return old == b ? c : old;
  }
}
template <class U>
void Atomic(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    U* p = reinterpret_cast<U*>(base + a.v[l]);
    const U b = w.at<U>(i.r[2])[l], c = i.r[3] == kNone ? 0 : w.at<U>(i.r[3])[l];
    U old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(p, &old, Combine<U>(i, old, b, c), false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
    if (i.r[0] != kNone) w.at<U>(i.r[0])[l] = old;
  }
}
}  // namespace

void AtomicGlobal(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[1], a);
  CheckGlobal(w, i, a, m, i.bytes);
  CheckAligned(w, i, a, m, i.bytes);
  CountGlobal(w, i, a, m, i.bytes, true);
  u8* base = const_cast<u8*>(GlobalBase(w));
  i.bytes == 8 ? Atomic<u64>(w, i, m, base, a) : Atomic<u32>(w, i, m, base, a);
}

void AtomicShared(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[1], a);
  for (u64& x : a.v) x &= ~kSharedWindow;
  Inst untracked = i;
  for (u32 mm = m; mm; mm &= mm - 1) {
    if (a.v[std::countr_zero(mm)] + i.bytes > w.block->shared.size()) {
      throw Error("shared atomic out of bounds: " + Where(*w.block, i, w.first_thread));
    }
  }
  CountShared(w, i, a, m, i.bytes);
  u8* base = w.block->shared.data();
  i.bytes == 8 ? Atomic<u64>(w, untracked, m, base, a) : Atomic<u32>(w, untracked, m, base, a);
}

// ---- cp.async: what it brings is there after the wait, not before
void CopyAsync(Warp& w, const Inst& i, u32 m) {
  Addresses global, shared;
  Inst source = i;
  source.address64 = 1;
  source.offset = 0;
  Collect(w, source, i.r[1], global);
  Inst target = i;  // i.offset and i.address64 are the shared address's
  Collect(w, target, i.r[0], shared);
  const u32 bytes = i.bytes;
  u32 reading = 0;
  for (u32 mm = m; mm; mm &= mm - 1) {
    const int l = std::countr_zero(mm);
    const u32 source_bytes = i.r[2] == kNone ? bytes : w.w(i.r[2])[l];
    const u32 s = static_cast<u32>(shared.v[l] & ~kSharedWindow);
    if (s + bytes > w.block->shared.size()) {
      throw Error("cp.async out of bounds: " + Where(*w.block, i, w.first_thread + l));
    }
    if (source_bytes != 0) reading |= 1u << l;
    w.copies.push_back({static_cast<u32>(l), w.committed[l], s, bytes, source_bytes, global.v[l]});
  }
  if (reading == 0) return;
  CheckGlobal(w, i, global, reading, bytes);
  CheckAligned(w, i, global, reading, bytes);
  CheckAligned(w, i, shared, m, bytes);
  CountGlobal(w, i, global, reading, bytes, false);
  TrackGlobal(w, i, global, reading, bytes, false);
}

void CopyCommit(Warp& w, const Inst&, u32 m) {
  for (; m; m &= m - 1) ++w.committed[std::countr_zero(m)];
}

void CopyWait(Warp& w, const Inst& i, u32 m) {
  const u32 keep = static_cast<u32>(i.offset);
  std::erase_if(w.copies, [&](const CopyRequest& c) {
    if (!(m >> c.lane & 1) || c.group + keep >= w.committed[c.lane]) return false;
    if (w.block->options->check_shared)
      Track(w, i, c.shared, c.bytes, static_cast<int>(c.lane), true);
    u8* to = w.block->shared.data() + c.shared;
    std::memcpy(to, GlobalBase(w) + c.global, c.source_bytes);
    std::memset(to + c.source_bytes, 0, c.bytes - c.source_bytes);
    return true;
  });
}

void LoadMatrix(Warp& w, const Inst& i, u32 m) {
  if (m != kAll) throw Error("ldmatrix by part of a warp: " + Where(*w.block, i, w.first_thread));
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  u32 readers = i.vec == 4 ? kAll : (1u << 8 * i.vec) - 1;
  for (u64& x : a.v) x &= ~kSharedWindow;
  CheckShared(w, i, a, readers, 16, false);
  CheckAligned(w, i, a, readers, 16);
  CountShared(w, i, a, readers, 16);
  const u8* base = w.block->shared.data();
  for (int x = 0; x < i.vec; ++x) {
    u16 rows[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(rows[r], base + a.v[8 * x + r], 16);
    u32* d = w.w(i.r[x]);
    for (int l = 0; l < 32; ++l) {
      const int row = l / 4, column = l % 4 * 2;
      d[l] = i.mode ? rows[column][row] | u32{rows[column + 1][row]} << 16
                    : rows[row][column] | u32{rows[row][column + 1]} << 16;
    }
  }
}

}  // namespace ptx
