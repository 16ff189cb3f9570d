// What instructions do to a warp's registers, by type. The decoder picks from here.
#pragma once

#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstring>

#include "lanes.h"

namespace ptx {

inline constexpr u32 kAll = ~0u;

// Lanes of 8 and 16 bits lie in 32-bit registers.
template <class T>
T Read(const u8* p, int l) {
  if constexpr (sizeof(T) >= 4)
    return reinterpret_cast<const T*>(p)[l];
  else
    return static_cast<T>(reinterpret_cast<const u32*>(p)[l]);
}
template <class T>
void Write(u8* p, int l, T v) {
  if constexpr (sizeof(T) >= 4)
    reinterpret_cast<T*>(p)[l] = v;
  else
    reinterpret_cast<u32*>(p)[l] = static_cast<std::make_unsigned_t<T>>(v);
}

// Calls f(lane) for the lanes of a mask; all 32 are one loop that the compiler turns into vectors.
template <class F>
inline void ForLanes(u32 m, F f) {
  if (m == kAll) {
#pragma GCC ivdep
    for (int l = 0; l < 32; ++l) f(l);
  } else {
    for (; m; m &= m - 1) f(std::countr_zero(m));
  }
}

template <class D, class A, auto F>
void Op1(Warp& w, const Inst& i, u32 m) {
  u8 *d = w.regs + i.r[0], *a = w.regs + i.r[1];
  ForLanes(m, [=](int l) { Write<D>(d, l, F(Read<A>(a, l))); });
}
template <class D, class A, class B, auto F>
void Op2(Warp& w, const Inst& i, u32 m) {
  u8 *d = w.regs + i.r[0], *a = w.regs + i.r[1], *b = w.regs + i.r[2];
  ForLanes(m, [=](int l) { Write<D>(d, l, F(Read<A>(a, l), Read<B>(b, l))); });
}
template <class D, class A, class B, class C, auto F>
void Op3(Warp& w, const Inst& i, u32 m) {
  u8 *d = w.regs + i.r[0], *a = w.regs + i.r[1], *b = w.regs + i.r[2], *c = w.regs + i.r[3];
  ForLanes(m, [=](int l) { Write<D>(d, l, F(Read<A>(a, l), Read<B>(b, l), Read<C>(c, l))); });
}
// The same for what cannot run on lanes that are off (division) or calls functions anyway.
template <class D, class A, class B, auto F>
void Slow2(Warp& w, const Inst& i, u32 m) {
  u8 *d = w.regs + i.r[0], *a = w.regs + i.r[1], *b = w.regs + i.r[2];
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    Write<D>(d, l, F(Read<A>(a, l), Read<B>(b, l)));
  }
}

// ---- predicates: a register is a mask of lanes
inline void SetMask(Warp& w, u32 reg, u32 m, u32 bits) {
  u32& p = *w.w(reg);
  p = (p & ~m) | (bits & m);
}
template <class T, auto F>
void SetPredicate(Warp& w, const Inst& i, u32 m) {  // r: d, a, b, [q, combine reg]
  const u8 *a = w.regs + i.r[1], *b = w.regs + i.r[2];
  u32 bits = 0;
  for (int l = 0; l < 32; ++l) bits |= static_cast<u32>(F(Read<T>(a, l), Read<T>(b, l))) << l;
  if (i.mode != 0) {
    u32 c = *w.w(i.r[4]);
    if (i.negated_combine()) c = ~c;
    const u32 plain = bits;
    const auto mix = [&](u32 x) {
      return (i.mode & 3) == 1 ? x & c : (i.mode & 3) == 2 ? x | c : x ^ c;
    };
    bits = mix(plain);
    if (i.r[3] != kNone) SetMask(w, i.r[3], m, mix(~plain));
  } else if (i.r[3] != kNone) {
    SetMask(w, i.r[3], m, ~bits);
  }
  SetMask(w, i.r[0], m, bits);
}
template <class T>
void Select(Warp& w, const Inst& i, u32 m) {
  u8 *d = w.regs + i.r[0], *a = w.regs + i.r[1], *b = w.regs + i.r[2];
  const u32 p = *w.w(i.r[3]);
  ForLanes(m, [=](int l) { Write<T>(d, l, p >> l & 1 ? Read<T>(a, l) : Read<T>(b, l)); });
}

// ---- numbers
inline float F32(u32 b) { return std::bit_cast<float>(b); }
inline u32 Bits(float f) { return std::bit_cast<u32>(f); }
inline float BFloat(u32 b) { return F32(b << 16); }
inline u32 ToBFloat(float f) {
  const u32 x = Bits(f);
  const u32 rounded = (x + 0x7fff + (x >> 16 & 1)) >> 16;
  return f != f ? 0x7fff : rounded;
}
inline float Half(u32 b) {
  return static_cast<float>(std::bit_cast<_Float16>(static_cast<u16>(b)));
}
inline u32 ToHalf(float f) { return std::bit_cast<u16>(static_cast<_Float16>(f)); }
inline float Flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
template <class T>
T FMin(T a, T b) {  // a NaN loses
  return a != a ? b : b != b ? a : a < b ? a : (a == b && std::signbit(a)) ? a : b;
}
template <class T>
T FMax(T a, T b) {
  return a != a ? b : b != b ? a : a > b ? a : (a == b && !std::signbit(a)) ? a : b;
}
// Float to integer, saturating; NaN is 0.
template <class I, class F>
I ToInteger(F x) {
  if (x != x) return 0;
  constexpr double kLow = static_cast<double>(std::numeric_limits<I>::min());
  if (x <= kLow) return std::numeric_limits<I>::min();
  if (x >= std::ldexp(1.0, std::numeric_limits<I>::digits)) return std::numeric_limits<I>::max();
  return static_cast<I>(x);
}

// ---- collectives
void Shuffle(Warp& w, const Inst& i, u32 m);  // r: d, predicate or none, a, b, c
void Vote(Warp& w, const Inst& i, u32 m);     // r: d, predicate
void Reduce(Warp& w, const Inst& i, u32 m);   // r: d, a
void Match(Warp& w, const Inst& i, u32 m);    // r: d, a
void SyncWarp(Warp& w, const Inst& i, u32 m);
void Mma(Warp& w, const Inst& i, u32 m);         // r: d4, a4, b2, c4
void LoadMatrix(Warp& w, const Inst& i, u32 m);  // r: d1..4, address at [vec]

// ---- memory
void LoadParameter(Warp& w, const Inst& i, u32 m);
void LoadGlobal(Warp& w, const Inst& i, u32 m);  // r: d0..d[vec-1], address at [vec]
void StoreGlobal(Warp& w, const Inst& i, u32 m);
void LoadShared(Warp& w, const Inst& i, u32 m);
void StoreShared(Warp& w, const Inst& i, u32 m);
void LoadGeneric(Warp& w, const Inst& i, u32 m);
void StoreGeneric(Warp& w, const Inst& i, u32 m);
void AtomicGlobal(Warp& w, const Inst& i, u32 m);  // r: d or none, address, b, c
void AtomicShared(Warp& w, const Inst& i, u32 m);
void CopyAsync(Warp& w, const Inst& i, u32 m);  // r: shared address, global address, size
void CopyCommit(Warp& w, const Inst& i, u32 m);
void CopyWait(Warp& w, const Inst& i, u32 m);

}  // namespace ptx
