#include <gtest/gtest.h>

#include <algorithm>

#include "ptx_test/opcode_case.h"

namespace ptx {
namespace {

using Wide = __int128;

// A value of a type as a number.
Wide Number(const std::string& type, u64 bits) {
  const int n = std::stoi(type.substr(1));
  if (type[0] == 'u' || type[0] == 'b') return n == 64 ? bits : bits & ((u64{1} << n) - 1);
  return static_cast<i64>(bits << (64 - n)) >> (64 - n);
}
u64 Bits(Wide x) { return static_cast<u64>(static_cast<unsigned __int128>(x)); }

const std::string kTypes[] = {"u16", "s16", "u32", "s32", "u64", "s64"};

void CheckBinary(const std::string& op, const std::string& type, Wide (*host)(Wide, Wide)) {
  Check({op + "." + type + " %d, %a, %b;", type, {type, type}, [=](u64 a, u64 b, u64) {
           return Bits(host(Number(type, a), Number(type, b)));
         }});
}

TEST(IntegerOpcodesTest, ArithmeticWrapsAround) {
  for (const std::string& type : kTypes) {
    CheckBinary("add", type, [](Wide a, Wide b) { return a + b; });
    CheckBinary("sub", type, [](Wide a, Wide b) { return a - b; });
    CheckBinary("mul.lo", type,
                [](Wide a, Wide b) { return static_cast<Wide>(Bits(a) * Bits(b)); });
    CheckBinary("min", type, [](Wide a, Wide b) { return std::min(a, b); });
    CheckBinary("max", type, [](Wide a, Wide b) { return std::max(a, b); });
  }
}

TEST(IntegerOpcodesTest, DivisionByZeroHasAResult) {
  for (const std::string& type : kTypes) {
    CheckBinary("div", type, [](Wide a, Wide b) { return b == 0 ? Wide{-1} : a / b; });
    CheckBinary("rem", type, [](Wide a, Wide b) { return b == 0 ? a : a % b; });
  }
}

TEST(IntegerOpcodesTest, UpperHalvesOfProducts) {
  for (const std::string type : {"u16", "s16", "u32", "s32"}) {
    const int bits = std::stoi(type.substr(1));
    const std::string twice = type[0] + std::to_string(2 * bits);
    const auto product = [=](u64 a, u64 b) { return Number(type, a) * Number(type, b); };
    Check({"mul.hi." + type + " %d, %a, %b;", type, {type, type}, [=](u64 a, u64 b, u64) {
             return Bits(product(a, b) >> bits);
           }});
    Check({"mul.wide." + type + " %d, %a, %b;", twice, {type, type}, [=](u64 a, u64 b, u64) {
             return Bits(product(a, b));
           }});
    Check({"mad.wide." + type + " %d, %a, %b, %c;",
           twice,
           {type, type, twice},
           [=](u64 a, u64 b, u64 c) { return Bits(product(a, b)) + c; }});
    Check(
        {"mad.hi." + type + " %d, %a, %b, %c;", type, {type, type, type}, [=](u64 a, u64 b, u64 c) {
           return Bits(product(a, b) >> bits) + c;
         }});
    Check(
        {"mad.lo." + type + " %d, %a, %b, %c;", type, {type, type, type}, [=](u64 a, u64 b, u64 c) {
           return Bits(product(a, b)) + c;
         }});
  }
  Check({"mul.hi.u64 %d, %a, %b;", "u64", {"u64", "u64"}, [](u64 a, u64 b, u64) {
           return static_cast<u64>((static_cast<unsigned __int128>(a) * b) >> 64);
         }});
  Check({"mul.hi.s64 %d, %a, %b;", "s64", {"s64", "s64"}, [](u64 a, u64 b, u64) {
           return static_cast<u64>((Wide{static_cast<i64>(a)} * static_cast<i64>(b)) >> 64);
         }});
}

TEST(IntegerOpcodesTest, SignsAndSaturation) {
  for (const std::string type : {"s16", "s32", "s64"}) {
    Check({"neg." + type + " %d, %a;", type, {type}, [=](u64 a, u64, u64) {
             return Bits(-Number(type, a));
           }});
    Check({"abs." + type + " %d, %a;", type, {type}, [=](u64 a, u64, u64) {
             const Wide x = Number(type, a);
             return Bits(x < 0 ? -x : x);
           }});
  }
  const auto clamp = [](Wide x) { return Bits(std::clamp<Wide>(x, INT32_MIN, INT32_MAX)); };
  Check({"add.sat.s32 %d, %a, %b;", "s32", {"s32", "s32"}, [=](u64 a, u64 b, u64) {
           return clamp(Number("s32", a) + Number("s32", b));
         }});
  Check({"sub.sat.s32 %d, %a, %b;", "s32", {"s32", "s32"}, [=](u64 a, u64 b, u64) {
           return clamp(Number("s32", a) - Number("s32", b));
         }});
}

TEST(IntegerOpcodesTest, DotProductsOfBytes) {
  for (const std::string a_type : {"u32", "s32"}) {
    for (const std::string b_type : {"u32", "s32"}) {
      const auto part = [](const std::string& type, u64 x, int bits, int at) {
        return Number(type[0] + std::to_string(bits), x >> at & ((1u << bits) - 1));
      };
      Check({"dp4a." + a_type + "." + b_type + " %d, %a, %b, %c;",
             "u32",
             {"u32", "u32", "u32"},
             [=](u64 a, u64 b, u64 c) {
               Wide sum = static_cast<Wide>(c);
               for (int i = 0; i < 32; i += 8) sum += part(a_type, a, 8, i) * part(b_type, b, 8, i);
               return Bits(sum);
             }});
      for (const int half : {0, 1}) {
        Check({std::string("dp2a.") + (half == 0 ? "lo." : "hi.") + a_type + "." + b_type +
                   " %d, %a, %b, %c;",
               "u32",
               {"u32", "u32", "u32"},
               [=](u64 a, u64 b, u64 c) {
                 return Bits(static_cast<Wide>(c) +
                             part(a_type, a, 16, 0) * part(b_type, b, 8, 16 * half) +
                             part(a_type, a, 16, 16) * part(b_type, b, 8, 16 * half + 8));
               }});
      }
    }
  }
}

}  // namespace
}  // namespace ptx
