#include <gtest/gtest.h>

#include <cmath>

#include "ptx_test/opcode_case.h"

namespace ptx {
namespace {

// -1, 0, 1, or 2 when one is a NaN.
template <class T>
int Order(T a, T b) {
  return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2;
}
int OrderOf(const std::string& type, u64 a, u64 b) {
  if (type == "f32") return Order(F(a), F(b));
  if (type == "f64") return Order(D(a), D(b));
  if (type[0] != 's') return Order(a, b);
  const int shift = 64 - std::stoi(type.substr(1));
  return Order(static_cast<i64>(a << shift), static_cast<i64>(b << shift));
}
bool Holds(const std::string& name, int order) {
  const std::string base = name == "lo"   ? "lt"
                           : name == "ls" ? "le"
                           : name == "hi" ? "gt"
                           : name == "hs" ? "ge"
                                          : name.substr(0, 2);
  if (name == "num") return order != 2;
  if (name == "nan") return order == 2;
  if (order == 2) return name.size() == 3;
  if (base == "eq") return order == 0;
  if (base == "ne") return order != 0;
  if (base == "lt") return order < 0;
  if (base == "le") return order <= 0;
  return base == "gt" ? order > 0 : order >= 0;
}

const std::vector<std::string> kSigned = {"eq", "ne", "lt", "le", "gt", "ge"};
std::vector<std::string> NamesFor(const std::string& type) {
  std::vector<std::string> names = kSigned;
  const auto add = [&](std::initializer_list<const char*> more) {
    names.insert(names.end(), more.begin(), more.end());
  };
  if (type[0] == 'u') add({"lo", "ls", "hi", "hs"});
  if (type[0] == 'f') add({"equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  if (type[0] == 'b') names.resize(2);
  return names;
}

TEST(CompareOpcodesTest, EveryComparisonOfEveryType) {
  for (const std::string type :
       {"u16", "s16", "u32", "s32", "u64", "s64", "b16", "b32", "b64", "f32", "f64"}) {
    for (const std::string& name : NamesFor(type)) {
      Check({"setp." + name + "." + type + " %q0, %a, %b;\nselp.u32 %d, 1, 0, %q0;",
             "u32",
             {type, type},
             [=](u64 a, u64 b, u64) { return u64{Holds(name, OrderOf(type, a, b))}; }});
      Check({"set." + name + ".u32." + type + " %d, %a, %b;",
             "u32",
             {type, type},
             [=](u64 a, u64 b, u64) { return Holds(name, OrderOf(type, a, b)) ? ~u64{0} : 0; }});
    }
  }
}

TEST(CompareOpcodesTest, ComparisonsAreCombinedWithPredicates) {
  const std::string head = "setp.gt.u32 %q5, %b, 40;\n";
  for (const std::string combine : {"and", "or", "xor"}) {
    for (const bool negated : {false, true}) {
      Check({head + "setp.lt." + combine + ".s32 %q0|%q1, %a, %b, " + (negated ? "!" : "") +
                 "%q5;\nselp.u32 %d, 1, 0, %q0;\nselp.u32 %r1, 2, 0, %q1;\nor.b32 %d, %d, %r1;",
             "u32",
             {"s32", "s32"},
             [=](u64 a, u64 b, u64) {
               const bool less = static_cast<i32>(a) < static_cast<i32>(b), c = (b > 40) != negated;
               const auto mix = [&](bool x) {
                 return combine == "and" ? x && c : combine == "or" ? x || c : x != c;
               };
               return u64{mix(less)} | u64{mix(!less)} << 1;
             }});
    }
  }
}

TEST(CompareOpcodesTest, FlushedComparisonsAndFloatResults) {
  Check({"setp.eq.ftz.f32 %q0, %a, 0f00000000;\nselp.u32 %d, 1, 0, %q0;",
         "u32",
         {"f32"},
         [](u64 a, u64, u64) { return u64{std::fabs(F(a)) < 0x1p-126f}; }});
  Check({"set.lt.f32.f32 %d, %a, %b;", "f32", {"f32", "f32"}, [](u64 a, u64 b, u64) {
           return B(F(a) < F(b) ? 1.0f : 0.0f);
         }});
}

TEST(CompareOpcodesTest, Selections) {
  for (const std::string type : {"b16", "b32", "u64", "f32", "f64"}) {
    Check({"setp.lt.u32 %q0, %c, 64;\nselp." + type + " %d, %a, %b, %q0;",
           type,
           {type, type, "u32"},
           [](u64 a, u64 b, u64 c) { return c < 64 ? a : b; }});
  }
  for (const std::string type : {"b32", "u64"}) {
    Check({"slct." + type + ".s32 %d, %a, %b, %c;",
           type,
           {type, type, "s32"},
           [](u64 a, u64 b, u64 c) { return static_cast<i32>(c) >= 0 ? a : b; }});
    Check({"slct." + type + ".f32 %d, %a, %b, %c;",
           type,
           {type, type, "f32"},
           [](u64 a, u64 b, u64 c) { return F(c) >= 0 ? a : b; }});
  }
}

}  // namespace
}  // namespace ptx
