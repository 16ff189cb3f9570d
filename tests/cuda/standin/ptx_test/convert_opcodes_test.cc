#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ptx_test/opcode_case.h"

namespace ptx {
namespace {

const std::string kIntegers[] = {"u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"};
const std::string kRoundings[] = {"n", "z", "m", "p"};

int BitsOf(const std::string& type) { return std::stoi(type.substr(1)); }
__int128 Integer(const std::string& type, u64 bits) {
  const int n = BitsOf(type);
  if (type[0] == 'u') return n == 64 ? bits : bits & ((u64{1} << n) - 1);
  return static_cast<i64>(bits << (64 - n)) >> (64 - n);
}
__int128 Least(const std::string& type) {
  return type[0] == 'u' ? 0 : -(static_cast<__int128>(1) << (BitsOf(type) - 1));
}
__int128 Most(const std::string& type) {
  return (static_cast<__int128>(1) << (type[0] == 'u' ? BitsOf(type) : BitsOf(type) - 1)) - 1;
}
u64 Low(__int128 x) { return static_cast<u64>(static_cast<unsigned __int128>(x)); }

// A float type, by its number of bits of exponent and mantissa.
struct Format {
  std::string name;
  int exponent, mantissa;
  u64 infinity() const { return ((u64{1} << exponent) - 1) << mantissa; }
  u64 sign() const { return u64{1} << (exponent + mantissa); }
};
const Format kF16{"f16", 5, 10}, kBf16{"bf16", 8, 7}, kF32{"f32", 8, 23};

long double ValueOf(const Format& f, u64 bits) {
  const int bias = (1 << (f.exponent - 1)) - 1;
  const int e = static_cast<int>((bits & (f.sign() - 1)) >> f.mantissa);
  const long double m = static_cast<long double>(bits & ((u64{1} << f.mantissa) - 1));
  const long double sign = (bits & f.sign()) != 0 ? -1 : 1;
  if (e == 2 * bias + 1) return m != 0 ? NAN : sign * INFINITY;
  if (e == 0) return sign * std::ldexp(m, 1 - bias - f.mantissa);
  return sign * std::ldexp(m + std::ldexp(1.0L, f.mantissa), e - bias - f.mantissa);
}

// The number of the format that x is rounded to: found among its neighbours, whose bits grow with
// the magnitude.
u64 Rounded(const Format& f, long double x, char rounding) {
  if (std::isnan(x)) return f.infinity() + 1;
  const bool negative = std::signbit(x);
  const u64 sign = negative ? f.sign() : 0;
  const long double y = std::fabs(x);
  if (std::isinf(y)) return sign | f.infinity();
  u64 low = 0, high = f.infinity();
  while (high - low > 1) {
    const u64 middle = (low + high) / 2;
    (ValueOf(f, middle) <= y ? low : high) = middle;
  }
  const long double below = ValueOf(f, low);
  if (below == y || rounding == 'z') return sign | low;
  if (rounding == 'm') return sign | (negative ? high : low);
  if (rounding == 'p') return sign | (negative ? low : high);
  // Infinity stands where the next number would be.
  const long double above =
      high == f.infinity() ? 2 * below - ValueOf(f, low - 1) : ValueOf(f, high);
  if (y - below != above - y) return sign | (y - below < above - y ? low : high);
  return sign | (low % 2 == 0 ? low : high);
}

long double Integral(long double x, char rounding) {
  return rounding == 'z'   ? std::trunc(x)
         : rounding == 'm' ? std::floor(x)
         : rounding == 'p' ? std::ceil(x)
                           : std::nearbyint(x);
}

TEST(ConvertOpcodesTest, IntegersToIntegers) {
  for (const std::string& to : kIntegers) {
    for (const std::string& from : kIntegers) {
      Check({"cvt." + to + "." + from + " %d, %a;", to, {from}, [=](u64 a, u64, u64) {
               return Low(Integer(from, a));
             }});
      Check({"cvt.sat." + to + "." + from + " %d, %a;", to, {from}, [=](u64 a, u64, u64) {
               return Low(std::clamp(Integer(from, a), Least(to), Most(to)));
             }});
    }
  }
}

TEST(ConvertOpcodesTest, SignedBytesFillTheirRegister) {
  Check({"cvt.s8.s32 %h1, %a;\ncvt.s32.s16 %d, %h1;", "s32", {"s32"}, [](u64 a, u64, u64) {
           return static_cast<u64>(static_cast<i8>(a));
         }});
}

TEST(ConvertOpcodesTest, FloatsToIntegersInEveryRounding) {
  const auto value = [](const std::string& from, u64 bits) {
    if (from == "f64") return static_cast<long double>(D(bits));
    return ValueOf(from == "f32" ? kF32 : from == "f16" ? kF16 : kBf16, bits);
  };
  for (const std::string from : {"f16", "f32", "f64"}) {
    for (const std::string& to : kIntegers) {
      for (const std::string& r : kRoundings) {
        Check({"cvt.r" + r + "i." + to + "." + from + " %d, %a;", to, {from}, [=](u64 a, u64, u64) {
                 const long double x = value(from, a);
                 const bool top = from == "f64" || BitsOf(to) == 64;
                 if (std::isnan(x)) return top ? u64{1} << (BitsOf(to) - 1) : u64{0};
                 const long double y = Integral(x, r[0]);
                 if (y <= static_cast<long double>(Least(to))) return Low(Least(to));
                 if (y >= static_cast<long double>(Most(to))) return Low(Most(to));
                 return Low(static_cast<__int128>(y));
               }});
      }
    }
  }
}

TEST(ConvertOpcodesTest, IntegersToFloatsInEveryRounding) {
  for (const std::string& from : kIntegers) {
    for (const std::string& r : kRoundings) {
      for (const Format& f : {kF16, kF32}) {
        Check({"cvt.r" + r + "." + f.name + "." + from + " %d, %a;",
               f.name,
               {from},
               [=](u64 a, u64, u64) {
                 return Rounded(f, static_cast<long double>(Integer(from, a)), r[0]);
               }});
      }
    }
    Check({"cvt.rn.f64." + from + " %d, %a;", "f64", {from}, [=](u64 a, u64, u64) {
             return B(static_cast<double>(Integer(from, a)));
           }});
  }
}

TEST(ConvertOpcodesTest, FloatsToNarrowerFloats) {
  for (const std::string& r : kRoundings) {
    Check({"cvt.r" + r + ".f32.f64 %d, %a;", "f32", {"f64"}, [=](u64 a, u64, u64) {
             return Rounded(kF32, D(a), r[0]);
           }});
    for (const Format& f : {kF16, kBf16}) {
      Check({"cvt.r" + r + "." + f.name + ".f32 %d, %a;", f.name, {"f32"}, [=](u64 a, u64, u64) {
               return Rounded(f, F(a), r[0]);
             }});
    }
  }
  Check({"cvt.rn.relu.bf16.f32 %d, %a;", "bf16", {"f32"}, [=](u64 a, u64, u64) {
           return F(a) < 0 ? 0 : Rounded(kBf16, F(a), 'n');
         }});
}

TEST(ConvertOpcodesTest, FloatsToWiderFloats) {
  Check({"cvt.f64.f32 %d, %a;", "f64", {"f32"}, [](u64 a, u64, u64) {
           return B(static_cast<double>(F(a)));
         }});
  for (const Format& f : {kF16, kBf16}) {
    Check({"cvt.f32." + f.name + " %d, %a;", "f32", {f.name}, [=](u64 a, u64, u64) {
             return B(static_cast<float>(ValueOf(f, a)));
           }});
  }
}

TEST(ConvertOpcodesTest, FloatsToIntegralFloats) {
  for (const std::string& r : kRoundings) {
    Check({"cvt.r" + r + "i.f32.f32 %d, %a;", "f32", {"f32"}, [=](u64 a, u64, u64) {
             return B(static_cast<float>(Integral(F(a), r[0])));
           }});
    Check({"cvt.r" + r + "i.f64.f64 %d, %a;", "f64", {"f64"}, [=](u64 a, u64, u64) {
             return B(static_cast<double>(Integral(D(a), r[0])));
           }});
  }
  Check({"cvt.sat.f32.f32 %d, %a;", "f32", {"f32"}, [](u64 a, u64, u64) {
           return B(!(F(a) > 0) ? 0.0f : F(a) < 1 ? F(a) : 1.0f);
         }});
  Check({"cvt.ftz.f32.f32 %d, %a;", "f32", {"f32"}, [](u64 a, u64, u64) {
           return B(std::fabs(F(a)) < 0x1p-126f ? std::copysign(0.0f, F(a)) : F(a));
         }});
}

TEST(ConvertOpcodesTest, PairsOfFloats) {
  for (const Format& f : {kF16, kBf16}) {
    for (const std::string r : {"n", "z"}) {
      Check({"cvt.r" + r + "." + f.name + "x2.f32 %d, %a, %b;",
             f.name + "x2",
             {"f32", "f32"},
             [=](u64 a, u64 b, u64) {
               return Rounded(f, F(a), r[0]) << 16 | Rounded(f, F(b), r[0]);
             }});
    }
  }
}

// e4m3 has no infinity and one NaN, and goes to 448; e5m2 is the upper half of f16.
double E4m3(u64 bits) {
  const int e = static_cast<int>(bits >> 3 & 15), m = static_cast<int>(bits & 7);
  const double sign = (bits & 128) != 0 ? -1 : 1;
  if (e == 15 && m == 7) return NAN;
  return sign * (e == 0 ? std::ldexp(m, -9) : std::ldexp(8 + m, e - 10));
}
u64 ToE4m3(double x) {
  if (std::isnan(x)) return 0x7f;
  u64 best = 0;
  const double y = std::min(std::fabs(x), 448.0);
  for (u64 c = 1; c <= 0x7e; ++c) {
    const double now = std::fabs(E4m3(c) - y), before = std::fabs(E4m3(best) - y);
    if (now < before || (now == before && c % 2 == 0)) best = c;
  }
  return best | (std::signbit(x) ? 128 : 0);
}
u64 ToE5m2(double x) {
  if (std::isnan(x)) return 0x7f;
  const Format e5m2{"e5m2", 5, 2};
  return std::isinf(x) || (Rounded(e5m2, x, 'n') & 0x7f) >= 0x7c ? (std::signbit(x) ? 0xfb : 0x7b)
                                                                 : Rounded(e5m2, x, 'n');
}

TEST(ConvertOpcodesTest, EightBitFloats) {
  Check(
      {"cvt.rn.satfinite.e4m3x2.f32 %d, %a, %b;", "e4m3x2", {"f32", "f32"}, [](u64 a, u64 b, u64) {
         return ToE4m3(F(a)) << 8 | ToE4m3(F(b));
       }});
  Check(
      {"cvt.rn.satfinite.e5m2x2.f32 %d, %a, %b;", "e5m2x2", {"f32", "f32"}, [](u64 a, u64 b, u64) {
         return ToE5m2(F(a)) << 8 | ToE5m2(F(b));
       }});
  const auto half = [](u64 bits) { return static_cast<double>(ValueOf(kF16, bits & 0xffff)); };
  Check({"cvt.rn.satfinite.e4m3x2.f16x2 %d, %a;", "e4m3x2", {"f16x2"}, [=](u64 a, u64, u64) {
           return ToE4m3(half(a >> 16)) << 8 | ToE4m3(half(a));
         }});
  Check({"cvt.rn.f16x2.e4m3x2 %d, %a;", "f16x2", {"e4m3x2"}, [](u64 a, u64, u64) {
           return Rounded(kF16, E4m3(a >> 8), 'n') << 16 | Rounded(kF16, E4m3(a & 255), 'n');
         }});
  Check({"cvt.rn.f16x2.e5m2x2 %d, %a;", "f16x2", {"e5m2x2"}, [](u64 a, u64, u64) {
           return (a >> 8) << 24 | (a & 255) << 8;
         }});
}

TEST(ConvertOpcodesTest, Tf32RoundsTiesAway) {
  Check({"cvt.rna.tf32.f32 %d, %a;", "f32", {"f32"}, [](u64 a, u64, u64) {
           if (std::isnan(F(a)) || std::isinf(F(a))) return a;
           return (a + 0x1000) & 0xffffe000;
         }});
}

TEST(ConvertOpcodesTest, PackedRegisters) {
  Check({"mov.b32 {%h1, %h2}, %a;\nmov.b32 %d, {%h2, %h1};", "b32", {"b32"}, [](u64 a, u64, u64) {
           return a >> 16 | a << 16;
         }});
  Check({"mov.b64 {%r1, %r2}, %a;\nmov.b64 %d, {%r2, %r1};", "b64", {"b64"}, [](u64 a, u64, u64) {
           return a >> 32 | a << 32;
         }});
  Check({"mov.b64 {%h1, %h2, %h3, %h4}, %a;\nmov.b64 %d, {%h4, %h3, %h2, %h1};",
         "b64",
         {"b64"},
         [](u64 a, u64, u64) {
           return a >> 48 | (a >> 32 & 0xffff) << 16 | (a >> 16 & 0xffff) << 32 | a << 48;
         }});
  Check({"mov.b64 {_, %r2}, %a;\nmov.b32 %d, %r2;", "b32", {"b64"}, [](u64 a, u64, u64) {
           return a >> 32;
         }});
}

}  // namespace
}  // namespace ptx
