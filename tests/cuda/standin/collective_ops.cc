// Instructions in which the lanes of a warp meet.
#include "ops.h"

namespace ptx {

void Shuffle(Warp& w, const Inst& i, u32 m) {
  u32 value[32], out[32], good = 0;
  std::memcpy(value, w.w(i.r[2]), sizeof value);
  const u32 *bs = w.w(i.r[3]), *cs = w.w(i.r[4]);
  for (int l = 0; l < 32; ++l) {
    const int b = bs[l] & 31, clamp = cs[l] & 31, segment = cs[l] >> 8 & 31;
    const int most = (l & segment) | (clamp & ~segment);
    int j = l;
    bool ok = true;
    switch (i.mode) {  // 0 bfly, 1 down, 2 up, 3 idx
      case 0:
        j = l ^ b;
        ok = j <= most;
        break;
      case 1:
        j = l + b;
        ok = j <= most;
        break;
      case 2:
        j = l - b;
        ok = j >= most;
        break;
      default:
        j = (l & segment) | (b & ~segment);
        ok = j <= most;
    }
    if (!ok) j = l;
    if ((m >> l & 1) && !(m >> j & 1)) {
      throw Error("shuffle reads a lane that is off: " + Where(*w.block, i, w.first_thread + l));
    }
    out[l] = value[j];
    good |= u32{ok} << l;
  }
  u32* d = w.w(i.r[0]);
  ForLanes(m, [&](int l) { d[l] = out[l]; });
  if (i.r[1] != kNone) SetMask(w, i.r[1], m, good);
}

void Vote(Warp& w, const Inst& i, u32 m) {
  u32 p = *w.w(i.r[1]);
  if (i.address64) p = ~p;  // the operand is negated
  const u32 ballot = p & m;
  switch (i.mode) {
    case 0: {
      u32* d = w.w(i.r[0]);
      ForLanes(m, [=](int l) { d[l] = ballot; });
      return;
    }
    case 1:
      return SetMask(w, i.r[0], m, ballot ? kAll : 0);
    case 2:
      return SetMask(w, i.r[0], m, ballot == m ? kAll : 0);
    default:
      return SetMask(w, i.r[0], m, ballot == m || ballot == 0 ? kAll : 0);
  }
}

void Reduce(Warp& w, const Inst& i, u32 m) {  // mode as for atomics
  const u32* a = w.w(i.r[1]);
  u32 x = a[std::countr_zero(m)];
  for (u32 mm = m & (m - 1); mm; mm &= mm - 1) {
    const u32 y = a[std::countr_zero(mm)];
    switch (i.mode & 7) {
      case 0:
        x += y;
        break;
      case 1:
        x = i.mode & 8 ? static_cast<u32>(std::min(i32(x), i32(y))) : std::min(x, y);
        break;
      case 2:
        x = i.mode & 8 ? static_cast<u32>(std::max(i32(x), i32(y))) : std::max(x, y);
        break;
      case 3:
        x &= y;
        break;
      case 4:
        x |= y;
        break;
      default:
        x ^= y;
    }
  }
  u32* d = w.w(i.r[0]);
  ForLanes(m, [=](int l) { d[l] = x; });
}

void Match(Warp& w, const Inst& i, u32 m) {
  u32 a[32], out[32] = {};
  std::memcpy(a, w.w(i.r[1]), sizeof a);
  for (int l = 0; l < 32; ++l) {
    for (int j = 0; j < 32; ++j) out[l] |= u32{a[j] == a[l]} << j;
  }
  u32* d = w.w(i.r[0]);
  ForLanes(m, [&](int l) { d[l] = out[l] & m; });
}

void SyncWarp(Warp& w, const Inst&, u32) { ++w.sync_epoch; }

void Mma(Warp& w, const Inst& i, u32 m) {  // m16n8k16, 16-bit inputs, f32 sums
  if (m != kAll) throw Error("mma by part of a warp: " + Where(*w.block, i, w.first_thread));
  float a[16][16], b[16][8], c[16][8];
  const bool half = i.mode;
  const auto to = [&](u32 x) { return half ? Half(x & 0xffff) : BFloat(x & 0xffff); };
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, q = l % 4 * 2;
    for (int x = 0; x < 4; ++x) {
      const u32 v = w.w(i.r[4 + x])[l];
      a[g + (x & 1) * 8][q + (x >> 1) * 8] = to(v);
      a[g + (x & 1) * 8][q + (x >> 1) * 8 + 1] = to(v >> 16);
      c[g + (x >> 1) * 8][q + (x & 1)] = w.at<float>(i.r[10 + x])[l];
    }
    for (int x = 0; x < 2; ++x) {
      const u32 v = w.w(i.r[8 + x])[l];
      b[q + x * 8][g] = to(v);
      b[q + x * 8 + 1][g] = to(v >> 16);
    }
  }
  for (int r = 0; r < 16; ++r) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 8; ++n) c[r][n] = std::fma(a[r][k], b[k][n], c[r][n]);
    }
  }
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, q = l % 4 * 2;
    for (int x = 0; x < 4; ++x) w.at<float>(i.r[x])[l] = c[g + (x >> 1) * 8][q + (x & 1)];
  }
  ++w.block->counters.mma;
}

}  // namespace ptx
