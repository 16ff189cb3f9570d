// Conversions between types.
#include <algorithm>

#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

// ---- the usual ones, without modifiers that change anything
struct ToFloat {
  template <class T>
  float operator()(T a) const {
    return static_cast<float>(a);
  }
};
struct ToDouble {
  template <class T>
  double operator()(T a) const {
    return static_cast<double>(a);
  }
};
template <class H>
struct ToHalf {
  H operator()(float a) const { return H(a); }
};

// ---- integers to integers
template <class D>
struct Truncate {
  template <class S>
  D operator()(S a) const {
    return static_cast<D>(a);
  }
};
template <class D>
struct Clamp {
  template <class S>
  D operator()(S a) const {
    using Limits = std::numeric_limits<D>;
    return static_cast<D>(std::clamp<__int128>(a, Limits::min(), Limits::max()));
  }
};
template <class D, class F>
Fn FromInteger(Type from) {
  Fn fn = nullptr;
  const auto pick = [&]<class S>(S) {
    if (kTypeOf<S> == from) fn = Each<F, D, S>;
  };
  pick(u8{}), pick(u16{}), pick(u32{}), pick(u64{});
  pick(i8{}), pick(i16{}), pick(i32{}), pick(i64{});
  return fn;
}
Fn BetweenIntegers(Type to, Type from, bool saturate) {
  Fn fn = nullptr;
  const auto pick = [&]<class D>(D) {
    if (kTypeOf<D> != to) return;
    fn = saturate ? FromInteger<D, Clamp<D>>(from) : FromInteger<D, Truncate<D>>(from);
  };
  pick(u8{}), pick(u16{}), pick(u32{}), pick(u64{});
  pick(i8{}), pick(i16{}), pick(i32{}), pick(i64{});
  return fn;
}

// ---- everything with a float, rounded as inst.mode says
enum Flags : u8 { kRoundingMask = 7, kSaturate = 8, kFlush = 16, kToIntegral = 32, kRelu = 64 };

long double RoundToIntegral(long double x, Rounding rounding) {
  switch (rounding) {
    case Rounding::kZero:
      return std::trunc(x);
    case Rounding::kDown:
      return std::floor(x);
    case Rounding::kUp:
      return std::ceil(x);
    default:
      return std::nearbyint(x);
  }
}

template <class S>
long double Source(const u8* p, int l, u8 flags) {
  const S x = Read<S>(p, l);
  if constexpr (std::is_class_v<S>) {
    return static_cast<float>(x);
  } else if constexpr (std::is_same_v<S, float>) {
    return (flags & kFlush) != 0 ? Flush(x) : x;
  } else {
    return static_cast<long double>(x);
  }
}

template <class D>
D ToInteger(long double x, bool wide_nan) {
  using Limits = std::numeric_limits<D>;
  // A NaN is 0; in 64 bits, or from f64, the highest bit alone.
  if (x != x) return wide_nan ? static_cast<D>(D{1} << (8 * sizeof(D) - 1)) : D{0};
  if (x <= static_cast<long double>(Limits::min())) return Limits::min();
  if (x >= static_cast<long double>(Limits::max())) return Limits::max();
  return static_cast<D>(x);
}

template <class D>
constexpr Format FormatOf() {
  return std::is_same_v<D, F16> ? kF16Format : std::is_same_v<D, Bf16> ? kBf16Format : kF32Format;
}

template <class D>
D Result(long double x, u8 flags, bool wide_nan) {
  const auto rounding = static_cast<Rounding>(flags & kRoundingMask);
  if ((flags & kToIntegral) != 0) x = RoundToIntegral(x, rounding);
  if constexpr (std::is_integral_v<D>) {
    return ToInteger<D>(x, wide_nan);
  } else {
    if ((flags & kSaturate) != 0) x = Saturate(x);
    if ((flags & kRelu) != 0 && x < 0) x = 0;
    if constexpr (std::is_same_v<D, double>) {
      return static_cast<double>(x);
    } else {
      const u32 bits = Encode(x, FormatOf<D>(), rounding, false);
      if constexpr (std::is_same_v<D, float>) {
        return (flags & kFlush) != 0 ? Flush(F32(bits)) : F32(bits);
      } else {
        D half;
        half.bits = static_cast<u16>(bits);
        return half;
      }
    }
  }
}

template <class D, class S>
void Convert(Warp& w, const Inst& i, u32 m) {
  u8 *d = w.regs + i.r[0], *s = w.regs + i.r[1];
  constexpr bool kWideNan = sizeof(D) == 8 || std::is_same_v<S, double>;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    Write<D>(d, l, Result<D>(Source<S>(s, l, i.mode), i.mode, kWideNan));
  }
}
template <class D>
Fn ConvertFrom(Type from) {
  Fn fn = nullptr;
  const auto pick = [&]<class S>(S) {
    if constexpr (std::is_integral_v<D> && std::is_integral_v<S>) {
      return;
    } else if (kTypeOf<S> == from) {
      fn = Convert<D, S>;
    }
  };
  pick(u8{}), pick(u16{}), pick(u32{}), pick(u64{});
  pick(i8{}), pick(i16{}), pick(i32{}), pick(i64{});
  pick(F16{}), pick(Bf16{}), pick(float{}), pick(double{});
  return fn;
}
Fn AnyConversion(Type to, Type from) {
  Fn fn = nullptr;
  const auto pick = [&]<class D>(D) {
    if (kTypeOf<D> == to) fn = ConvertFrom<D>(from);
  };
  pick(u8{}), pick(u16{}), pick(u32{}), pick(u64{});
  pick(i8{}), pick(i16{}), pick(i32{}), pick(i64{});
  pick(F16{}), pick(Bf16{}), pick(float{}), pick(double{});
  return fn;
}

// Quick forms of what kernels convert most, rounded to the nearest; null when there is none.
struct NearestIntegral {
  float operator()(float a) const { return std::nearbyint(a); }
};
Fn QuickConversion(Type to, Type from) {
  const auto is = [&](Type a, Type b) { return to == a && from == b; };
  if (is(Type::kF32, Type::kF16)) return Each<ToFloat, float, F16>;
  if (is(Type::kF32, Type::kBf16)) return Each<ToFloat, float, Bf16>;
  if (is(Type::kF16, Type::kF32)) return Each<ToHalf<F16>, F16, float>;
  if (is(Type::kBf16, Type::kF32)) return Each<ToHalf<Bf16>, Bf16, float>;
  if (is(Type::kF32, Type::kU8)) return Each<ToFloat, float, u8>;
  if (is(Type::kF32, Type::kS8)) return Each<ToFloat, float, i8>;
  if (is(Type::kF32, Type::kU16)) return Each<ToFloat, float, u16>;
  if (is(Type::kF32, Type::kS16)) return Each<ToFloat, float, i16>;
  if (is(Type::kF32, Type::kU32)) return Each<ToFloat, float, u32>;
  if (is(Type::kF32, Type::kS32)) return Each<ToFloat, float, i32>;
  if (is(Type::kF64, Type::kF32)) return Each<ToDouble, double, float>;
  if (is(Type::kF32, Type::kF64)) return Each<ToFloat, float, double>;
  return nullptr;
}

// Whether PTX wants a rounding: where the result may not be exact.
bool NeedsRounding(Type to, Type from) {
  if (!IsFloat(to)) return false;
  if (!IsFloat(from)) return true;
  return SizeOf(to) < SizeOf(from) || (SizeOf(to) == SizeOf(from) && to != from);
}

struct Modifiers {
  bool saturate, flush, relu, finite;
  int rounding, integral;
};

void EncodeScalar(Encoder& e, Type to, Type from, const Modifiers& m) {
  if (m.relu && (!IsFloat(from) || (to != Type::kF16 && to != Type::kBf16))) e.Refuse();
  if (m.finite || (m.flush && to != Type::kF32 && from != Type::kF32)) e.Refuse();
  const bool same = to == from && IsFloat(to);
  const bool to_integer = IsInteger(to) && IsFloat(from);
  if ((m.integral >= 0) != (to_integer || (same && m.rounding < 0 && m.integral >= 0))) e.Refuse();
  if ((m.rounding >= 0) != NeedsRounding(to, from)) e.Refuse();
  if (to == Type::kF64 && m.rounding > 0) e.Refuse();
  const int rounding = std::max({m.rounding, m.integral, 0});
  e.inst.mode = static_cast<u8>(rounding | (m.saturate ? kSaturate : 0) | (m.flush ? kFlush : 0) |
                                (m.integral >= 0 ? kToIntegral : 0) | (m.relu ? kRelu : 0));
  Fn fn = nullptr;
  if (IsInteger(to) && IsInteger(from)) {
    fn = BetweenIntegers(to, from, m.saturate);
  } else if (e.inst.mode == 0) {
    fn = QuickConversion(to, from);
  } else if (same && to == Type::kF32 && e.inst.mode == kToIntegral) {
    fn = Each<NearestIntegral, float, float>;
  }
  if (fn == nullptr) fn = AnyConversion(to, from);
  e.Want(2);
  e.Set(fn, {e.Use(0, SizeOf(to)), e.Use(1, SizeOf(from))});
}

// ---- pairs
template <class H>
struct PackHalves {  // of two floats, the first of which becomes the upper half
  Pair<H> operator()(float a, float b) const { return {H(b), H(a)}; }
};
// Of two floats into a pair of `kFormat`; inst.mode: rounding and flags.
template <const Format& kFormat, bool kFinite>
void PackPair(Warp& w, const Inst& i, u32 m) {
  constexpr int kBits = 1 + kFormat.exponent_bits + kFormat.mantissa_bits;
  const auto rounding = static_cast<Rounding>(i.mode & kRoundingMask);
  const auto one = [&](float x) {
    if ((i.mode & kRelu) != 0 && x < 0) x = 0;
    return Encode(x, kFormat, rounding, kFinite);
  };
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    w.w(i.r[0])[l] = one(w.at<float>(i.r[1])[l]) << kBits | one(w.at<float>(i.r[2])[l]);
  }
}
void EncodePairOfFloats(Encoder& e, Type to, const Modifiers& m) {
  if (m.rounding != 0 && m.rounding != 1) e.Refuse();
  const bool eight = SizeOf(to) == 2;
  if (eight && (m.rounding != 0 || !m.finite)) e.Refuse();
  if (!eight && m.finite) e.Refuse();
  e.inst.mode = static_cast<u8>(m.rounding | (m.relu ? kRelu : 0));
  Fn fn = to == Type::kF16x2    ? Fn(PackPair<kF16Format, false>)
          : to == Type::kBf16x2 ? Fn(PackPair<kBf16Format, false>)
          : to == Type::kE4m3x2 ? Fn(PackPair<kE4m3Format, true>)
                                : Fn(PackPair<kE5m2Format, true>);
  if (e.inst.mode == 0 && to == Type::kF16x2) fn = Each<PackHalves<F16>, Pair<F16>, float, float>;
  if (e.inst.mode == 0 && to == Type::kBf16x2) {
    fn = Each<PackHalves<Bf16>, Pair<Bf16>, float, float>;
  }
  e.Want(3);
  e.Set(fn, {e.Use(0, SizeOf(to)), e.Use(1, 4), e.Use(2, 4)});
}

// Pairs of 8-bit numbers, and of f16.
template <const Format& kFormat>
void PairToHalves(Warp& w, const Inst& i, u32 m) {
  const auto one = [&](u32 bits) {
    const double x = Decode(bits & 0xff, kFormat);
    return ToF16(static_cast<float>((i.mode & kRelu) != 0 && x < 0 ? 0 : x));
  };
  u32 *d = w.w(i.r[0]), *s = w.w(i.r[1]);
  ForLanes(m, [&](int l) { d[l] = one(s[l] >> 8) << 16 | one(s[l]); });
}
template <const Format& kFormat>
void PairFromHalves(Warp& w, const Inst& i, u32 m) {
  const auto one = [&](u32 bits) {
    const float x = FromF16(bits & 0xffff);
    return Encode((i.mode & kRelu) != 0 && x < 0 ? 0 : x, kFormat, Rounding::kNearest, true);
  };
  u32 *d = w.w(i.r[0]), *s = w.w(i.r[1]);
  ForLanes(m, [&](int l) { d[l] = one(s[l] >> 16) << 8 | one(s[l]); });
}
void EncodePairOfPairs(Encoder& e, Type to, Type from, const Modifiers& m) {
  const bool narrows = SizeOf(to) == 2;
  if (m.rounding != 0 || m.finite != narrows) e.Refuse();
  if ((narrows ? from : to) != Type::kF16x2 || SizeOf(narrows ? to : from) != 2) e.Refuse();
  e.inst.mode = m.relu ? kRelu : 0;
  e.Want(2);
  e.Set(to == Type::kE4m3x2     ? PairFromHalves<kE4m3Format>
        : to == Type::kE5m2x2   ? PairFromHalves<kE5m2Format>
        : from == Type::kE4m3x2 ? PairToHalves<kE4m3Format>
                                : PairToHalves<kE5m2Format>,
        {e.Use(0, SizeOf(to)), e.Use(1, SizeOf(from))});
}

// f32 with a mantissa of 10 bits.
struct ToTf32 {
  u32 operator()(float a) const { return Encode(a, kTf32Format, Rounding::kAway, false) << 13; }
};

void EncodeConvert(Encoder& e) {
  Modifiers m;
  m.saturate = e.Take("sat");
  m.flush = e.Take("ftz");
  m.relu = e.Take("relu");
  m.finite = e.Take("satfinite");
  const bool away = e.Take("rna");
  m.rounding = e.TakeOne({"rn", "rz", "rm", "rp"});
  m.integral = e.TakeOne({"rni", "rzi", "rmi", "rpi"});
  const Type to = e.TakeType(), from = e.TakeType();
  if (to == Type::kTf32 || away) {
    if (to != Type::kTf32 || !away || from != Type::kF32 || m.rounding >= 0) e.Refuse();
    if (m.integral >= 0 || m.relu || m.finite || m.flush || m.saturate) e.Refuse();
    return e.Same(Each<ToTf32, u32, float>, 2, 4);
  }
  if (to < Type::kF16x2 && from < Type::kF16x2) return EncodeScalar(e, to, from, m);
  if (m.saturate || m.flush || m.integral >= 0) e.Refuse();
  if (from == Type::kF32 && to != Type::kPred) return EncodePairOfFloats(e, to, m);
  EncodePairOfPairs(e, to, from, m);
}

}  // namespace

std::span<const Opcode> ConvertOpcodes() {
  static constexpr Opcode kOpcodes[] = {{"cvt", EncodeConvert}};
  return kOpcodes;
}

}  // namespace ptx
