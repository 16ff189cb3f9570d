#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>

#include "ptx_test/opcode_case.h"

namespace ptx {
namespace {

float Flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

// Runs f with a rounding mode of the host.
template <class F>
auto With(int mode, F f) {
  const int old = std::fegetround();
  std::fesetround(mode);
  auto result = f();
  std::fesetround(old);
  return result;
}
// Nothing may move across a change of the rounding mode, of which the compiler knows nothing.
template <class T>
[[gnu::noinline]] T Apply(char op, T a_value, T b_value, T c_value) {
  volatile T a = a_value, b = b_value, c = c_value;
  volatile T r = op == '+'   ? a + b
                 : op == '-' ? a - b
                 : op == '*' ? a * b
                 : op == '/' ? a / b
                 : op == 'r' ? 1 / a
                 : op == 's' ? std::sqrt(a)
                             : std::fma(a, b, c);
  return r;
}

struct Op {
  const char* name;
  char op;
  size_t inputs;
};
constexpr Op kOps[] = {{"add", '+', 2}, {"sub", '-', 2},  {"mul", '*', 2}, {"div", '/', 2},
                       {"rcp", 'r', 1}, {"sqrt", 's', 1}, {"fma", 'f', 3}};
const std::pair<const char*, int> kRoundings[] = {
    {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

std::string Text(const Op& op, const std::string& modifiers) {
  return std::string(op.name) + modifiers + " %d, %a" + (op.inputs > 1 ? ", %b" : "") +
         (op.inputs > 2 ? ", %a" : "") + ";";
}

TEST(FloatOpcodesTest, ArithmeticInEveryRounding) {
  for (const Op& op : kOps) {
    for (const auto& [name, mode] : kRoundings) {
      const std::string rounding = std::string(".") + name;
      const std::vector<std::string> f32(std::min<size_t>(op.inputs, 2), "f32"),
          f64(f32.size(), "f64");
      Check({Text(op, rounding + ".f32"), "f32", f32, [=, mode = mode](u64 a, u64 b, u64) {
               return With(mode, [&] { return B(Apply(op.op, F(a), F(b), F(a))); });
             }});
      Check({Text(op, rounding + ".f64"), "f64", f64, [=, mode = mode](u64 a, u64 b, u64) {
               return With(mode, [&] { return B(Apply(op.op, D(a), D(b), D(a))); });
             }});
    }
  }
  Check({"fma.rn.f32 %d, %a, %b, %c;", "f32", {"f32", "f32", "f32"}, [](u64 a, u64 b, u64 c) {
           return B(std::fma(F(a), F(b), F(c)));
         }});
}

TEST(FloatOpcodesTest, SubnormalsAreFlushedWhenAsked) {
  for (const Op& op : kOps) {
    const std::vector<std::string> f32(std::min<size_t>(op.inputs, 2), "f32");
    Check({Text(op, ".rn.ftz.f32"), "f32", f32, [=](u64 a, u64 b, u64) {
             const float x = Flush(F(a)), y = Flush(F(b));
             return B(Flush(Apply(op.op, x, y, x)));
           }});
  }
}

TEST(FloatOpcodesTest, ResultsAreSaturatedWhenAsked) {
  for (const std::string op : {"add", "mul"}) {
    Check({op + ".sat.f32 %d, %a, %b;", "f32", {"f32", "f32"}, [=](u64 a, u64 b, u64) {
             const float r = op == "add" ? F(a) + F(b) : F(a) * F(b);
             return B(std::isnan(r) || r <= 0 ? 0.0f : r >= 1 ? 1.0f : r);
           }});
  }
}

TEST(FloatOpcodesTest, LeastAndGreatest) {
  // -0 is below 0, and a number wins over a NaN.
  const auto least = [](auto x, auto y) {
    if (std::isnan(x)) return y;
    if (std::isnan(y)) return x;
    if (x == 0 && y == 0) return std::signbit(x) ? x : y;
    return x < y ? x : y;
  };
  Check({"min.f32 %d, %a, %b;", "f32", {"f32", "f32"}, [=](u64 a, u64 b, u64) {
           return B(least(F(a), F(b)));
         }});
  Check({"max.f32 %d, %a, %b;", "f32", {"f32", "f32"}, [=](u64 a, u64 b, u64) {
           return B(-least(-F(a), -F(b)));
         }});
  Check({"min.f64 %d, %a, %b;", "f64", {"f64", "f64"}, [=](u64 a, u64 b, u64) {
           return B(least(D(a), D(b)));
         }});
  Check({"max.f64 %d, %a, %b;", "f64", {"f64", "f64"}, [=](u64 a, u64 b, u64) {
           return B(-least(-D(a), -D(b)));
         }});
  Check({"max.NaN.f32 %d, %a, %b;", "f32", {"f32", "f32"}, [=](u64 a, u64 b, u64) {
           const bool nan = std::isnan(F(a)) || std::isnan(F(b));
           return B(nan ? NAN : -least(-F(a), -F(b)));
         }});
}

TEST(FloatOpcodesTest, SignsAndClasses) {
  Check({"abs.f32 %d, %a;", "f32", {"f32"}, [](u64 a, u64, u64) { return a & 0x7fffffff; }});
  Check({"neg.f32 %d, %a;", "f32", {"f32"}, [](u64 a, u64, u64) { return a ^ 0x80000000; }});
  Check({"abs.f64 %d, %a;", "f64", {"f64"}, [](u64 a, u64, u64) { return a << 1 >> 1; }});
  Check({"neg.f64 %d, %a;", "f64", {"f64"}, [](u64 a, u64, u64) { return a ^ u64 { 1 } << 63; }});
  Check({"copysign.f32 %d, %a, %b;", "f32", {"f32", "f32"}, [](u64 a, u64 b, u64) {
           return (a & 0x80000000) | (b & 0x7fffffff);
         }});
  const std::pair<const char*, bool (*)(float)> kClasses[] = {
      {"finite", [](float x) { return x - x == 0; }},
      {"infinite", [](float x) { return std::fabs(x) == INFINITY; }},
      {"number", [](float x) { return x == x; }},
      {"notanumber", [](float x) { return x != x; }},
      {"normal", [](float x) { return std::fpclassify(x) == FP_NORMAL; }},
      {"subnormal", [](float x) { return std::fpclassify(x) == FP_SUBNORMAL; }}};
  for (const auto& [name, is] : kClasses) {
    Check({std::string("testp.") + name + ".f32 %q0, %a;\nselp.u32 %d, 1, 0, %q0;",
           "u32",
           {"f32"},
           [is = is](u64 a, u64, u64) { return u64{is(F(a))}; }});
  }
}

TEST(FloatOpcodesTest, Functions) {
  const std::pair<const char*, double (*)(double)> kFunctions[] = {
      {"rcp.approx.f32", [](double x) { return 1 / x; }},
      {"sqrt.approx.f32", [](double x) { return std::sqrt(x); }},
      {"rsqrt.approx.f32", [](double x) { return 1 / std::sqrt(x); }},
      {"ex2.approx.f32", [](double x) { return std::exp2(x); }},
      {"lg2.approx.f32", [](double x) { return std::log2(x); }},
      {"tanh.approx.f32", [](double x) { return std::tanh(x); }},
      {"sin.approx.f32", [](double x) { return std::sin(x); }},
      {"cos.approx.f32", [](double x) { return std::cos(x); }}};
  for (const auto& [name, host] : kFunctions) {
    Check({std::string(name) + " %d, %a;",
           "f32",
           {"f32"},
           [host = host](u64 a, u64, u64) { return B(static_cast<float>(host(F(a)))); },
           1e-6});
  }
  Check({"ex2.approx.ftz.f32 %d, %a;",
         "f32",
         {"f32"},
         [](u64 a, u64, u64) {
           return B(Flush(static_cast<float>(std::exp2(static_cast<double>(Flush(F(a)))))));
         },
         1e-6});
}

// ---- halves: what f64 gives, rounded once by looking for the neighbours
double Half(const std::string& type, u64 bits) {
  const int mantissa = type == "f16" ? 10 : 7, bias = type == "f16" ? 15 : 127;
  const int e = static_cast<int>(bits >> mantissa & (type == "f16" ? 31 : 255));
  const double m = static_cast<double>(bits & ((1u << mantissa) - 1));
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (e == 2 * bias + 1) return m != 0 ? NAN : sign * INFINITY;
  return sign * (e == 0 ? std::ldexp(m, 1 - bias - mantissa)
                        : std::ldexp(m + (1 << mantissa), e - bias - mantissa));
}
// The nearest half of an exact number: bits grow with the magnitude.
u64 Nearest(const std::string& type, long double x) {
  if (std::isnan(x)) return 0x7fff;
  const u64 sign = std::signbit(x) ? 0x8000 : 0, infinity = type == "f16" ? 0x7c00 : 0x7f80;
  const long double y = std::fabs(x);
  u64 low = 0, high = infinity;
  while (high - low > 1) {
    const u64 middle = (low + high) / 2;
    (Half(type, middle) <= y ? low : high) = middle;
  }
  const long double below = Half(type, low);
  // Infinity stands where the next number would be.
  const long double step = below - static_cast<long double>(Half(type, low == 0 ? 0 : low - 1));
  const long double above = high == infinity ? below + step : Half(type, high);
  if (y - below != above - y) return sign | (y - below < above - y ? low : high);
  return sign | (low % 2 == 0 ? low : high);
}

TEST(FloatOpcodesTest, HalvesAreRoundedOnce) {
  for (const std::string type : {"f16", "bf16"}) {
    const auto x = [=](u64 bits) { return static_cast<long double>(Half(type, bits)); };
    Check({"add." + type + " %d, %a, %b;", type, {type, type}, [=](u64 a, u64 b, u64) {
             return Nearest(type, x(a) + x(b));
           }});
    Check({"sub.rn." + type + " %d, %a, %b;", type, {type, type}, [=](u64 a, u64 b, u64) {
             return Nearest(type, x(a) - x(b));
           }});
    Check({"mul." + type + " %d, %a, %b;", type, {type, type}, [=](u64 a, u64 b, u64) {
             return Nearest(type, x(a) * x(b));
           }});
    Check({"neg." + type + " %d, %a;", type, {type}, [](u64 a, u64, u64) { return a ^ 0x8000; }});
    Check({"abs." + type + " %d, %a;", type, {type}, [](u64 a, u64, u64) { return a & 0x7fff; }});
    Check({"max." + type + " %d, %a, %b;", type, {type, type}, [=](u64 a, u64 b, u64) {
             if (std::isnan(x(a))) return b;
             if (std::isnan(x(b))) return a;
             if (x(a) == x(b)) return (a & 0x8000) == 0 ? a : b;
             return x(a) > x(b) ? a : b;
           }});
  }
}

TEST(FloatOpcodesTest, FusedHalves) {
  // Sums of products of f16 fit a long double; of bf16 they may not.
  Check({"fma.rn.f16 %d, %a, %b, %c;", "f16", {"f16", "f16", "f16"}, [](u64 a, u64 b, u64 c) {
           const long double product = static_cast<long double>(Half("f16", a)) * Half("f16", b);
           return Nearest("f16", product + Half("f16", c));
         }});
  // Half a unit above a tie, and far below it: double alone would round to the tie first.
  Check(
      {"mov.b16 %h1, 0x3f81;\nmov.b16 %h2, 0x3f80;\nmov.b16 %h3, 0x0080;\n"
       "fma.rn.bf16 %d, %h1, %h2, %h3;\nxor.b16 %d, %d, %a;\nxor.b16 %d, %d, %a;",
       "bf16",
       {"bf16"},
       [](u64, u64, u64) { return u64{0x3f81}; }});
}

TEST(FloatOpcodesTest, PairsAreTwoHalves) {
  for (const std::string type : {"f16", "bf16"}) {
    const std::string pair = type + "x2";
    const auto both = [=](long double (*host)(long double, long double)) {
      return [=](u64 a, u64 b, u64) {
        const auto one = [&](u64 x, u64 y) {
          return Nearest(type, host(Half(type, x & 0xffff), Half(type, y & 0xffff)));
        };
        return one(a >> 16, b >> 16) << 16 | one(a, b);
      };
    };
    Check(
        {"add." + pair + " %d, %a, %b;", pair, {pair, pair}, both([](long double x, long double y) {
           return x + y;
         })});
    Check(
        {"mul." + pair + " %d, %a, %b;", pair, {pair, pair}, both([](long double x, long double y) {
           return x * y;
         })});
    Check({"mov.b32 %r1, 0;\nfma.rn." + pair + " %d, %a, %b, %r1;",
           pair,
           {pair, pair},
           both([](long double x, long double y) { return x * y + 0; })});
  }
}

}  // namespace
}  // namespace ptx
