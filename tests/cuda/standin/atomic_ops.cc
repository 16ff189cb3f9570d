// Atomics: whole, also between blocks that run on several threads of the host.
#include <algorithm>
#include <bit>

#include "access.h"
#include "lanewise.h"
#include "memory_ops.h"

namespace ptx {
namespace {

template <class T>
T Sum(T a, T b) {
  if constexpr (std::is_class_v<T>) {
    return T(static_cast<float>(a) + static_cast<float>(b));
  } else {
    return static_cast<T>(a + b);
  }
}
template <class H>
Pair<H> Sum(Pair<H> a, Pair<H> b) {
  return {Sum(a.low, b.low), Sum(a.high, b.high)};
}

template <class T>
T Combine(Atomic what, T old, T b, T c) {
  if (what == Atomic::kAdd) return Sum(old, b);
  if constexpr (std::is_integral_v<T>) {
    switch (what) {
      case Atomic::kMin:
        return std::min(old, b);
      case Atomic::kMax:
        return std::max(old, b);
      case Atomic::kAnd:
        return old & b;
      case Atomic::kOr:
        return old | b;
      case Atomic::kXor:
        return old ^ b;
      case Atomic::kCompare:
        return old == b ? c : old;
      case Atomic::kIncrement:
        return old >= b ? 0 : old + 1;
      case Atomic::kDecrement:
        return old == 0 || old > b ? b : old - 1;
      default:
        return b;
    }
  }
  return b;
}

template <class T>
void Run(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  using Bits =
      std::conditional_t<sizeof(T) == 8, u64, std::conditional_t<sizeof(T) == 4, u32, u16>>;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    Bits* p = reinterpret_cast<Bits*>(base + a.v[l]);
    const T b = Read<T>(w.regs + i.r[2], l);
    const T c = i.r[3] == kNone ? T{} : Read<T>(w.regs + i.r[3], l);
    Bits old = __atomic_load_n(p, __ATOMIC_RELAXED), changed;
    do {
      const T now = Combine(static_cast<Atomic>(i.mode), std::bit_cast<T>(old), b, c);
      changed = std::bit_cast<Bits>(now);
    } while (
        !__atomic_compare_exchange_n(p, &old, changed, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (i.r[0] != kNone) Write<T>(w.regs + i.r[0], l, std::bit_cast<T>(old));
  }
}

void RunElement(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  switch (static_cast<Element>(i.vec)) {
    case Element::kU16:
      return Run<u16>(w, i, m, base, a);
    case Element::kU32:
      return Run<u32>(w, i, m, base, a);
    case Element::kU64:
      return Run<u64>(w, i, m, base, a);
    case Element::kS32:
      return Run<i32>(w, i, m, base, a);
    case Element::kS64:
      return Run<i64>(w, i, m, base, a);
    case Element::kF32:
      return Run<float>(w, i, m, base, a);
    case Element::kF64:
      return Run<double>(w, i, m, base, a);
    case Element::kF16:
      return Run<F16>(w, i, m, base, a);
    case Element::kBf16:
      return Run<Bf16>(w, i, m, base, a);
    case Element::kF16x2:
      return Run<Pair<F16>>(w, i, m, base, a);
    case Element::kBf16x2:
      return Run<Pair<Bf16>>(w, i, m, base, a);
  }
}

void OnGlobal(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  CheckGlobal(w, i, a, m, i.bytes);
  CheckAligned(w, i, a, m, i.bytes);
  CountGlobal(w, i, a, m, i.bytes, true);
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    PassKnowledge(w, a.v[std::countr_zero(rest)], (i.target & kPublishes) != 0);
  }
  TrackGlobal(w, i, a, m, i.bytes, Access::kAtomic);
  RunElement(w, i, m, w.block->memory->At(0), a);
}

void OnShared(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  CheckAligned(w, i, a, m, i.bytes);
  CheckShared(w, i, a, m, i.bytes, Access::kAtomic);
  CountShared(w, i, a, m, i.bytes);
  RunElement(w, i, m, w.block->shared.data(), a);
}

}  // namespace

void AtomicGlobal(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[1], a);
  OnGlobal(w, i, m, a);
}

void AtomicShared(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[1], a);
  for (u64& x : a.v) x &= ~kSharedWindow;
  OnShared(w, i, m, a);
}

void AtomicGeneric(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[1], a);
  u32 shared = 0;
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    if ((a.v[l] & (kLocalWindow | kParameterWindow)) != 0) {
      throw Error("atomic on local memory: " + Where(*w.block, i, w.first_thread + l));
    }
    if ((a.v[l] & kSharedWindow) != 0) shared |= 1u << l;
  }
  if ((m & ~shared) != 0) OnGlobal(w, i, m & ~shared, a);
  for (u64& x : a.v) x &= ~kSharedWindow;
  if (shared != 0) OnShared(w, i, shared, a);
}

}  // namespace ptx
