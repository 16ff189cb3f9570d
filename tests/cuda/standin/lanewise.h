// Instructions that do the same in every lane, made from functions of one lane.
#pragma once

#include <bit>
#include <type_traits>
#include <utility>

#include "lanes.h"
#include "numbers.h"
#include "types.h"

namespace ptx {

// Lanes of 8 and 16 bits lie in 32-bit registers; what is signed fills them with its sign.
template <class T>
T Read(const u8* p, int l) {
  if constexpr (std::is_class_v<T>) {
    T value;
    std::memcpy(&value, p + 4 * l, sizeof(T));
    return value;
  } else if constexpr (sizeof(T) >= 4) {
    return reinterpret_cast<const T*>(p)[l];
  } else {
    return static_cast<T>(reinterpret_cast<const u32*>(p)[l]);
  }
}
template <class T>
void Write(u8* p, int l, T v) {
  if constexpr (std::is_class_v<T>) {
    u32 bits = 0;
    std::memcpy(&bits, &v, sizeof(T));
    reinterpret_cast<u32*>(p)[l] = bits;
  } else if constexpr (sizeof(T) >= 4) {
    reinterpret_cast<T*>(p)[l] = v;
  } else {
    reinterpret_cast<u32*>(p)[l] = static_cast<u32>(v);
  }
}

// Calls f(lane) for the lanes of a mask; all 32 are one loop that the compiler turns into vectors.
template <class F>
inline void ForLanes(u32 m, F f) {
  if (m == kAll) {
#pragma GCC ivdep
    for (int l = 0; l < kLanes; ++l) f(l);
  } else {
    for (; m; m &= m - 1) f(std::countr_zero(m));
  }
}

// d = F(a, b, ...), with the types D and A...; r: d, a, b, ...
template <class F, class D, class... A, size_t... kIndex>
inline void EachOf(Warp& w, const Inst& i, u32 m, std::index_sequence<kIndex...>) {
  u8* d = w.regs + i.r[0];
  ForLanes(m, [d, ... a = static_cast<const u8*>(w.regs + i.r[kIndex + 1])](int l) {
    Write<D>(d, l, F{}(Read<A>(a, l)...));
  });
}
template <class F, class D, class... A>
void Each(Warp& w, const Inst& i, u32 m) {
  EachOf<F, D, A...>(w, i, m, std::index_sequence_for<A...>{});
}

template <class T>
inline constexpr Type kTypeOf = Type::kNone;
template <>
inline constexpr Type kTypeOf<u8> = Type::kU8;
template <>
inline constexpr Type kTypeOf<u16> = Type::kU16;
template <>
inline constexpr Type kTypeOf<u32> = Type::kU32;
template <>
inline constexpr Type kTypeOf<u64> = Type::kU64;
template <>
inline constexpr Type kTypeOf<i8> = Type::kS8;
template <>
inline constexpr Type kTypeOf<i16> = Type::kS16;
template <>
inline constexpr Type kTypeOf<i32> = Type::kS32;
template <>
inline constexpr Type kTypeOf<i64> = Type::kS64;
template <>
inline constexpr Type kTypeOf<float> = Type::kF32;
template <>
inline constexpr Type kTypeOf<double> = Type::kF64;
template <>
inline constexpr Type kTypeOf<F16> = Type::kF16;
template <>
inline constexpr Type kTypeOf<Bf16> = Type::kBf16;
template <>
inline constexpr Type kTypeOf<Pair<F16>> = Type::kF16x2;
template <>
inline constexpr Type kTypeOf<Pair<Bf16>> = Type::kBf16x2;

// F with the type among T... that an instruction has for all its operands; null when it is none.
template <class F, class... T>
Fn Unary(Type type) {
  Fn fn = nullptr;
  ((kTypeOf<T> == type ? void(fn = Each<F, T, T>) : void()), ...);
  return fn;
}
template <class F, class... T>
Fn Binary(Type type) {
  Fn fn = nullptr;
  ((kTypeOf<T> == type ? void(fn = Each<F, T, T, T>) : void()), ...);
  return fn;
}
template <class F, class... T>
Fn Ternary(Type type) {
  Fn fn = nullptr;
  ((kTypeOf<T> == type ? void(fn = Each<F, T, T, T, T>) : void()), ...);
  return fn;
}

// A predicate register is a mask of lanes.
inline void SetMask(Warp& w, u32 reg, u32 m, u32 bits) {
  u32& p = *w.w(reg);
  p = (p & ~m) | (bits & m);
}

}  // namespace ptx
