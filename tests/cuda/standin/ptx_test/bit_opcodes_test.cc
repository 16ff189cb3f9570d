#include <gtest/gtest.h>

#include <algorithm>

#include "ptx_test/opcode_case.h"

namespace ptx {
namespace {

const int kWidths[] = {16, 32, 64};
std::string T(char kind, int bits) { return kind + std::to_string(bits); }
u64 Mask(int bits) { return bits == 64 ? ~u64{0} : (u64{1} << bits) - 1; }
i64 Signed(u64 x, int bits) { return static_cast<i64>(x << (64 - bits)) >> (64 - bits); }
bool Bit(u64 x, i64 at) { return (x >> at & 1) != 0; }

TEST(BitOpcodesTest, Logic) {
  for (const int n : kWidths) {
    const std::string t = T('b', n);
    Check({"and." + t + " %d, %a, %b;", t, {t, t}, [](u64 a, u64 b, u64) { return a & b; }});
    Check({"or." + t + " %d, %a, %b;", t, {t, t}, [](u64 a, u64 b, u64) { return a | b; }});
    Check({"xor." + t + " %d, %a, %b;", t, {t, t}, [](u64 a, u64 b, u64) { return a ^ b; }});
    Check({"not." + t + " %d, %a;", t, {t}, [](u64 a, u64, u64) { return ~a; }});
    Check({"cnot." + t + " %d, %a;", t, {t}, [](u64 a, u64, u64) { return u64{a == 0}; }});
  }
}

TEST(BitOpcodesTest, PredicatesAreCombined) {
  const std::string head = "setp.lt.u32 %q0, %a, 50;\nsetp.lt.u32 %q1, %b, 50;\n";
  const std::string tail = "\nselp.u32 %d, 1, 0, %q2;";
  const auto check = [&](const std::string& op, bool (*host)(bool, bool)) {
    Check({head + op + tail, "u32", {"u32", "u32"}, [=](u64 a, u64 b, u64) {
             return u64{host(a < 50, b < 50)};
           }});
  };
  check("and.pred %q2, %q0, %q1;", [](bool a, bool b) { return a && b; });
  check("or.pred %q2, %q0, %q1;", [](bool a, bool b) { return a || b; });
  check("xor.pred %q2, %q0, %q1;", [](bool a, bool b) { return a != b; });
  check("and.pred %q2, !%q0, %q1;", [](bool a, bool b) { return !a && b; });
  check("not.pred %q2, %q0;", [](bool a, bool) { return !a; });
  check("mov.pred %q2, %q1;", [](bool, bool b) { return b; });
}

TEST(BitOpcodesTest, EveryTruthTableOfThreeBits) {
  for (int table = 0; table < 256; ++table) {
    Check({"and.b32 %b, %b, 0xffff;\nlop3.b32 %d, %a, %b, %a, " + std::to_string(table) + ";",
           "b32",
           {"b32", "b32"},
           [=](u64 a, u64 b, u64) {
             u64 d = 0;
             for (int i = 0; i < 32; ++i) {
               const int row = Bit(a, i) * 4 + Bit(b & 0xffff, i) * 2 + Bit(a, i);
               d |= u64{Bit(static_cast<u64>(table), row)} << i;
             }
             return d;
           }});
  }
  Check({"lop3.b32 %d, %a, %b, %c, 0x1b;", "b32", {"b32", "b32", "b32"}, [](u64 a, u64 b, u64 c) {
           u64 d = 0;
           for (int i = 0; i < 32; ++i) {
             d |= u64{Bit(0x1b, Bit(a, i) * 4 + Bit(b, i) * 2 + Bit(c, i))} << i;
           }
           return d;
         }});
}

TEST(BitOpcodesTest, ShiftsByAnyNumber) {
  for (const int n : kWidths) {
    const u64 most = static_cast<u64>(n);
    Check({"shl." + T('b', n) + " %d, %a, %b;",
           T('b', n),
           {T('b', n), "u32"},
           [=](u64 a, u64 b, u64) { return b >= most ? 0 : a << b; }});
    Check({"shr." + T('u', n) + " %d, %a, %b;",
           T('u', n),
           {T('u', n), "u32"},
           [=](u64 a, u64 b, u64) { return b >= most ? 0 : (a & Mask(n)) >> b; }});
    Check({"shr." + T('b', n) + " %d, %a, %b;",
           T('b', n),
           {T('b', n), "u32"},
           [=](u64 a, u64 b, u64) { return b >= most ? 0 : (a & Mask(n)) >> b; }});
    Check({"shr." + T('s', n) + " %d, %a, %b;",
           T('s', n),
           {T('s', n), "u32"},
           [=](u64 a, u64 b, u64) {
             return static_cast<u64>(Signed(a, n) >> std::min<u64>(b, most - 1));
           }});
  }
}

TEST(BitOpcodesTest, FunnelShifts) {
  const auto check = [](const std::string& op, u64 (*host)(unsigned __int128, u64)) {
    Check({"shf." + op + ".b32 %d, %a, %b, %c;",
           "b32",
           {"b32", "b32", "b32"},
           [=](u64 a, u64 b, u64 c) {
             return host(static_cast<unsigned __int128>(b) << 32 | a, c);
           }});
  };
  check("l.wrap", [](unsigned __int128 x, u64 c) { return static_cast<u64>(x << (c & 31) >> 32); });
  check("l.clamp", [](unsigned __int128 x, u64 c) {
    return static_cast<u64>(x << std::min<u64>(c, 32) >> 32);
  });
  check("r.wrap", [](unsigned __int128 x, u64 c) { return static_cast<u64>(x >> (c & 31)); });
  check("r.clamp",
        [](unsigned __int128 x, u64 c) { return static_cast<u64>(x >> std::min<u64>(c, 32)); });
}

TEST(BitOpcodesTest, CountsAndPositions) {
  for (const int n : {32, 64}) {
    const std::string t = T('b', n);
    Check({"popc." + t + " %d, %a;", "u32", {t}, [](u64 a, u64, u64) {
             u64 count = 0;
             for (int i = 0; i < 64; ++i) count += Bit(a, i);
             return count;
           }});
    Check({"clz." + t + " %d, %a;", "u32", {t}, [=](u64 a, u64, u64) {
             int i = n - 1;
             while (i >= 0 && !Bit(a, i)) --i;
             return static_cast<u64>(n - 1 - i);
           }});
    Check({"brev." + t + " %d, %a;", t, {t}, [=](u64 a, u64, u64) {
             u64 d = 0;
             for (int i = 0; i < n; ++i) d |= u64{Bit(a, i)} << (n - 1 - i);
             return d;
           }});
    for (const char kind : {'u', 's'}) {
      for (const bool shift : {false, true}) {
        Check({std::string("bfind.") + (shift ? "shiftamt." : "") + T(kind, n) + " %d, %a;",
               "u32",
               {T(kind, n)},
               [=](u64 a, u64, u64) {
                 const bool flip = kind == 's' && Bit(a, n - 1);
                 for (int i = n - 1; i >= 0; --i) {
                   if (Bit(a, i) != flip) return static_cast<u64>(shift ? n - 1 - i : i);
                 }
                 return ~u64{0};
               }});
      }
    }
  }
  Check(
      {"and.b32 %b, %b, 31;\nfns.b32 %d, %a, %b, 2;", "b32", {"b32", "b32"}, [](u64 a, u64 b, u64) {
         int found = 0;
         for (u64 i = b & 31; i < 32; ++i) {
           found += Bit(a, static_cast<i64>(i));
           if (found == 2) return i;
         }
         return u64{0xffffffff};
       }});
}

TEST(BitOpcodesTest, BitFields) {
  for (const int n : {32, 64}) {
    for (const char kind : {'u', 's'}) {
      Check({"bfe." + T(kind, n) + " %d, %a, %b, %c;",
             T(kind, n),
             {T(kind, n), "u32", "u32"},
             [=](u64 a, u64 b, u64 c) {
               const u64 position = b & 255, length = c & 255;
               const u64 top = std::min<u64>(position + length - 1, static_cast<u64>(n) - 1);
               const bool sign = kind == 's' && length != 0 && Bit(a, static_cast<i64>(top));
               u64 d = 0;
               for (u64 i = 0; i < static_cast<u64>(n); ++i) {
                 const bool inside = i < length && position + i < static_cast<u64>(n);
                 d |= u64{inside ? Bit(a, static_cast<i64>(position + i)) : sign} << i;
               }
               return d;
             }});
    }
    const std::string t = T('b', n);
    Check(
        {"bfi." + t + " %d, %a, " + "%a, %b, %c;", t, {t, "u32", "u32"}, [=](u64 a, u64 b, u64 c) {
           u64 d = a;
           for (u64 i = 0; i < (c & 255) && (b & 255) + i < static_cast<u64>(n); ++i) {
             const u64 at = (b & 255) + i;
             d = (d & ~(u64{1} << at)) | u64{Bit(a, static_cast<i64>(i))} << at;
           }
           return d;
         }});
  }
}

TEST(BitOpcodesTest, BytesArePermuted) {
  const auto byte = [](u64 a, u64 b, u64 n) {
    return (n < 4 ? a >> 8 * n : b >> 8 * (n - 4)) & 255;
  };
  Check({"prmt.b32 %d, %a, %b, %c;", "b32", {"b32", "b32", "b32"}, [=](u64 a, u64 b, u64 c) {
           u64 d = 0;
           for (u64 i = 0; i < 4; ++i) {
             const u64 s = c >> 4 * i & 15, x = byte(a, b, s & 7);
             d |= (s < 8 ? x : x >= 128 ? 255 : 0) << 8 * i;
           }
           return d;
         }});
  const auto mode = [&](const std::string& name, u64 (*pick)(u64 c, u64 i)) {
    Check({"prmt.b32." + name + " %d, %a, %b, %c;",
           "b32",
           {"b32", "b32", "b32"},
           [=](u64 a, u64 b, u64 c) {
             u64 d = 0;
             for (u64 i = 0; i < 4; ++i) d |= byte(a, b, pick(c & 3, i)) << 8 * i;
             return d;
           }});
  };
  mode("f4e", [](u64 c, u64 i) { return c + i; });
  mode("b4e", [](u64 c, u64 i) { return (c + 8 - i) % 8; });
  mode("rc8", [](u64 c, u64) { return c; });
  mode("ecl", [](u64 c, u64 i) { return std::max(c, i); });
  mode("ecr", [](u64 c, u64 i) { return std::min(c, i); });
  mode("rc16", [](u64 c, u64 i) { return (c & 1) * 2 + (i & 1); });
}

}  // namespace
}  // namespace ptx
