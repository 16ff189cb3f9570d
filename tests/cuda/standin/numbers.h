// Numbers of the types that C++ does not have.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "memory.h"

namespace ptx {

inline float F32(u32 bits) { return std::bit_cast<float>(bits); }
inline u32 Bits(float f) { return std::bit_cast<u32>(f); }

enum class Rounding : u8 { kNearest, kZero, kDown, kUp, kAway };  // kAway: ties away from zero

// A binary format with a sign. `max` are the bits of the greatest finite number.
struct Format {
  int exponent_bits, mantissa_bits;
  u32 max, nan;
  bool has_infinity = true;
  constexpr int least_exponent() const { return 2 - (1 << (exponent_bits - 1)); }
  constexpr u32 sign() const { return 1u << (exponent_bits + mantissa_bits); }
};
inline constexpr Format kF16Format{5, 10, 0x7bff, 0x7fff};
inline constexpr Format kBf16Format{8, 7, 0x7f7f, 0x7fff};
inline constexpr Format kF32Format{8, 23, 0x7f7fffff, 0x7fffffff};
inline constexpr Format kTf32Format{8, 10, 0x3fbff, 0x3ffff};  // the upper 19 bits of an f32
inline constexpr Format kE4m3Format{4, 3, 0x7e, 0x7f, false};
inline constexpr Format kE5m2Format{5, 2, 0x7b, 0x7f};

// Exact but slow, for every format and rounding. `saturate`: to the greatest finite number.
u32 Encode(long double x, const Format& format, Rounding rounding, bool saturate);
double Decode(u32 bits, const Format& format);

// The quick ones.
inline float FromBf16(u32 bits) { return F32(bits << 16); }
inline u32 ToBf16(float f) {
  const u32 x = Bits(f);
  const u32 rounded = (x + 0x7fff + (x >> 16 & 1)) >> 16;
  return f != f ? 0x7fff : rounded;
}
inline float FromF16(u32 bits) {
  return static_cast<float>(std::bit_cast<_Float16>(static_cast<u16>(bits)));
}
inline u32 ToF16(float f) { return f != f ? 0x7fff : std::bit_cast<u16>(static_cast<_Float16>(f)); }

// Lanes of these types.
struct F16 {
  u16 bits = 0;
  F16() = default;
  explicit F16(float f) : bits(static_cast<u16>(ToF16(f))) {}
  explicit operator float() const { return FromF16(bits); }
  static F16 Rounded(double x) {
    F16 h;
    h.bits = static_cast<u16>(ptx::Encode(x, kF16Format, Rounding::kNearest, false));
    return h;
  }
};
struct Bf16 {
  u16 bits = 0;
  Bf16() = default;
  explicit Bf16(float f) : bits(static_cast<u16>(ToBf16(f))) {}
  explicit operator float() const { return FromBf16(bits); }
  static Bf16 Rounded(double x) {
    Bf16 h;
    h.bits = static_cast<u16>(ptx::Encode(x, kBf16Format, Rounding::kNearest, false));
    return h;
  }
};
template <class H>
struct Pair {
  H low, high;
};

inline float Flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
template <class T>
T Saturate(T x) {  // to [0, 1]; NaN is 0
  return x > 0 ? (x < 1 ? x : T(1)) : T(0);
}
template <class T>
T FMin(T a, T b) {  // a NaN loses
  return a != a ? b : b != b ? a : a < b ? a : (a == b && std::signbit(a)) ? a : b;
}
template <class T>
T FMax(T a, T b) {
  return a != a ? b : b != b ? a : a > b ? a : (a == b && !std::signbit(a)) ? a : b;
}

}  // namespace ptx
