// cp.async and ldmatrix: from global to shared memory, from shared memory to fragments.
#include <algorithm>
#include <bit>

#include "access.h"
#include "lanewise.h"
#include "memory_ops.h"

namespace ptx {
namespace {

// The copy's words as long as they are on their way.
void MarkCopies(Warp& w, const CopyRequest& c, int change) {
  if (!w.block->options->check_shared) return;
  for (u32 b = 0; b < c.bytes; b += 4) {
    Shadow& s = w.block->shadow[(c.shared + b) / 4];
    s.copies = static_cast<u8>(s.copies + change);
  }
}

// Those that `ends` says, in the order in which they began.
template <class F>
void Finish(Warp& w, const Inst& i, F ends) {
  std::erase_if(w.copies, [&](const CopyRequest& c) {
    if (!ends(c)) return false;
    MarkCopies(w, c, -1);
    if (w.block->options->check_shared) {
      TrackShared(w, i, c.shared, c.bytes, static_cast<int>(c.lane), Access::kWrite);
    }
    u8* to = w.block->shared.data() + c.shared;
    std::memcpy(to, w.block->memory->At(c.global), c.source_bytes);
    std::memset(to + c.source_bytes, 0, c.bytes - c.source_bytes);
    return true;
  });
}

}  // namespace

void CopyAsync(Warp& w, const Inst& i, u32 m) {
  Addresses global, shared;
  Inst source = i;
  source.address64 = 1;
  source.offset = i.target;
  Collect(w, source, i.r[1], global);
  Collect(w, i, i.r[0], shared);
  for (u64& x : shared.v) x &= ~kSharedWindow;
  const u32 bytes = i.bytes;
  CheckAligned(w, i, shared, m, bytes);
  CheckShared(w, i, shared, m, bytes, Access::kWrite);
  u32 whole = 0;
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    const u32 from = i.r[2] == kNone ? bytes : w.w(i.r[2])[l];
    if (from > bytes) throw Error("cp.async of more than it writes: " + Where(*w.block, i, l));
    if (from == bytes) whole |= 1u << l;
    w.copies.push_back({static_cast<u32>(l), w.committed[l], static_cast<u32>(shared.v[l]), bytes,
                        from, global.v[l]});
    MarkCopies(w, w.copies.back(), 1);
    if (from == 0 || from == bytes) continue;
    CheckAligned(w, i, global, 1u << l, bytes);
    CheckGlobal(w, i, global, 1u << l, from);
    CountGlobal(w, i, global, 1u << l, from, false);
    for (u32 b = 0; b < from; ++b) {
      Addresses one;
      one.v[l] = global.v[l] + b;
      TrackGlobal(w, i, one, 1u << l, 1, Access::kRead);
    }
  }
  if (whole == 0) return;
  CheckAligned(w, i, global, whole, bytes);
  CheckGlobal(w, i, global, whole, bytes);
  CountGlobal(w, i, global, whole, bytes, false);
  TrackGlobal(w, i, global, whole, bytes, Access::kRead);
}

void CopyCommit(Warp& w, const Inst&, u32 m) {
  for (; m; m &= m - 1) ++w.committed[std::countr_zero(m)];
}

void CopyWait(Warp& w, const Inst& i, u32 m) {
  const u32 keep = static_cast<u32>(i.offset);
  Finish(w, i, [&](const CopyRequest& c) {
    return (m >> c.lane & 1) != 0 && c.group + keep < w.committed[c.lane];
  });
}

void CopyWaitAll(Warp& w, const Inst& i, u32 m) {
  Finish(w, i, [&](const CopyRequest& c) { return (m >> c.lane & 1) != 0; });
}

void LoadMatrix(Warp& w, const Inst& i, u32 m) {
  if (m != kAll) throw Error("ldmatrix by part of a warp: " + Where(*w.block, i, w.first_thread));
  constexpr u32 kRowBytes = 16;
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  for (u64& x : a.v) x &= ~kSharedWindow;
  const u32 readers = i.vec == 4 ? kAll : (1u << 8 * i.vec) - 1;
  CheckAligned(w, i, a, readers, kRowBytes);
  CheckShared(w, i, a, readers, kRowBytes, Access::kRead);
  CountShared(w, i, a, readers, kRowBytes);
  const u8* base = w.block->shared.data();
  for (int x = 0; x < i.vec; ++x) {
    u16 rows[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(rows[r], base + a.v[8 * x + r], kRowBytes);
    u32* d = w.w(i.r[static_cast<size_t>(x)]);
    for (int l = 0; l < kLanes; ++l) {
      const int row = l / 4, column = l % 4 * 2;
      d[l] = i.mode != 0 ? rows[column][row] | u32{rows[column + 1][row]} << 16
                         : rows[row][column] | u32{rows[row][column + 1]} << 16;
    }
  }
}

}  // namespace ptx
