#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ptx_test/machine.h"
#include "ptx_test/opcode_case.h"

namespace ptx {
namespace {

// What a warp's lanes have in %r1 after `body`; each begins with a value in %r2.
std::vector<u32> Lanes(const std::string& body, const std::vector<u32>& values) {
  Machine m;
  const u64 in = m.Upload(values), out = m.Allocate(32 * 4);
  const Outcome o = RunOnce(m, {{}, {32}, 0}, {in, out},
                            "mad.wide.u32 %x1, %t, 4, %p0;\nld.global.u32 %r2, [%x1];\n" + body +
                                "\nmad.wide.u32 %x2, %t, 4, %p1;\nst.global.u32 [%x2], %r1;");
  EXPECT_EQ(o.error, "") << body;
  return m.Read<u32>(out, 32);
}
std::vector<u32> Values() {
  std::vector<u32> values(32);
  for (u32 l = 0; l < 32; ++l) values[l] = l * l * 0x9e3779b9u;
  return values;
}

TEST(WarpOpcodesTest, ShufflesOfEverySegment) {
  const std::vector<u32> v = Values();
  for (const int width : {2, 4, 8, 16, 32}) {
    for (const int by : {0, 1, 3, 7, 16}) {
      const u32 mask = static_cast<u32>(32 - width) << 8;
      for (const std::string mode : {"bfly", "down", "up", "idx"}) {
        const u32 c = mask | (mode == "up" ? 0 : 31);
        const auto got = Lanes("shfl.sync." + mode + ".b32 %r1|%q1, %r2, " + std::to_string(by) +
                                   ", " + std::to_string(c) + ", -1;\n@!%q1 not.b32 %r1, %r1;",
                               v);
        for (int l = 0; l < 32; ++l) {
          const int first = l / width * width, end = first + width;
          const int j = mode == "bfly"   ? l ^ by
                        : mode == "down" ? l + by
                        : mode == "up"   ? l - by
                                         : first + by % width;
          // bfly may reach into segments before its own.
          const bool ok = j < end && (mode == "bfly" || j >= first);
          EXPECT_EQ(got[l], ok ? v[j] : ~v[l]) << mode << " " << by << " in " << width << ", " << l;
        }
      }
    }
  }
}

TEST(WarpOpcodesTest, VotesOfSomeLanes) {
  std::vector<u32> v(32);
  for (u32 l = 0; l < 32; ++l) v[l] = l % 3;
  const std::string head = "setp.eq.u32 %q1, %r2, 0;\nsetp.lt.u32 %q3, %t, 16;\nmov.u32 %r1, 99;\n";
  const auto ballot = Lanes(head + "@%q3 vote.sync.ballot.b32 %r1, %q1, 0xffff;", v);
  EXPECT_EQ(ballot[0], 0b1001001001001001u);
  EXPECT_EQ(ballot[16], 99u);
  const auto vote = [&](const std::string& what) {
    return Lanes(head + "vote.sync." + what + ".pred %q2, %q1, -1;\nselp.u32 %r1, 1, 0, %q2;",
                 v)[7];
  };
  EXPECT_EQ(vote("any"), 1u);
  EXPECT_EQ(vote("all"), 0u);
  EXPECT_EQ(vote("uni"), 0u);
  EXPECT_EQ(Lanes(head + "vote.sync.all.pred %q2, !%q2, -1;\nmov.u32 %r1, %lanemask_lt;", v)[5],
            31u);
}

TEST(WarpOpcodesTest, HalvesOfAWarpMeetApart) {
  const auto got = Lanes(R"(
    setp.lt.u32 %q1, %t, 16;
    selp.u32 %r5, 0xffff, 0xffff0000, %q1;
    redux.sync.add.u32 %r1, %r2, %r5;)",
                         std::vector<u32>(32, 1));
  EXPECT_EQ(got[0], 16u);
  EXPECT_EQ(got[31], 16u);
}

TEST(WarpOpcodesTest, Reductions) {
  const std::vector<u32> v = Values();
  const auto fold = [&](auto f) {
    u32 x = v[0];
    for (u32 l = 1; l < 32; ++l) x = static_cast<u32>(f(x, v[l]));
    return x;
  };
  const auto check = [&](const std::string& op, u32 want) {
    EXPECT_THAT(Lanes("redux.sync." + op + " %r1, %r2, -1;", v), testing::Each(want)) << op;
  };
  check("add.u32", fold([](u32 a, u32 b) { return a + b; }));
  check("add.s32", fold([](u32 a, u32 b) { return a + b; }));
  check("min.u32", fold([](u32 a, u32 b) { return std::min(a, b); }));
  check("max.u32", fold([](u32 a, u32 b) { return std::max(a, b); }));
  check("min.s32", fold([](u32 a, u32 b) { return std::min<i32>(a, b); }));
  check("max.s32", fold([](u32 a, u32 b) { return std::max<i32>(a, b); }));
  check("and.b32", fold([](u32 a, u32 b) { return a & b; }));
  check("or.b32", fold([](u32 a, u32 b) { return a | b; }));
  check("xor.b32", fold([](u32 a, u32 b) { return a ^ b; }));
}

TEST(WarpOpcodesTest, Matches) {
  std::vector<u32> v(32);
  for (u32 l = 0; l < 32; ++l) v[l] = l % 5;
  const auto any = Lanes("match.any.sync.b32 %r1, %r2, -1;", v);
  EXPECT_EQ(any[1], 1u << 1 | 1u << 6 | 1u << 11 | 1u << 16 | 1u << 21 | 1u << 26 | 1u << 31);
  EXPECT_EQ(Lanes("match.all.sync.b32 %r1|%q1, %r2, -1;\n@%q1 mov.u32 %r1, 1;", v)[3], 0u);
  EXPECT_EQ(Lanes("cvt.u64.u32 %x3, %r2;\nshr.u64 %x3, %x3, 40;\n"
                  "match.all.sync.b64 %r1|%q1, %x3, -1;",
                  v)[3],
            ~0u);
  EXPECT_EQ(Lanes("setp.gt.u32 %q1, %t, 4;\n@%q1 activemask.b32 %r1;\n@!%q1 mov.u32 %r1, 0;", v)[9],
            ~0u << 5);
}

// ---- matrices

struct MatrixCase {
  const char* shape;
  int depth;
  const char *a, *b, *sum;
};
const MatrixCase kMatrices[] = {
    {"m16n8k8", 8, "f16", "f16", "f32"},   {"m16n8k16", 16, "f16", "f16", "f32"},
    {"m16n8k8", 8, "bf16", "bf16", "f32"}, {"m16n8k16", 16, "bf16", "bf16", "f32"},
    {"m16n8k8", 8, "f16", "f16", "f16"},   {"m16n8k16", 16, "f16", "f16", "f16"},
    {"m16n8k4", 4, "tf32", "tf32", "f32"}, {"m16n8k8", 8, "tf32", "tf32", "f32"},
    {"m16n8k16", 16, "s8", "s8", "s32"},   {"m16n8k32", 32, "s8", "s8", "s32"},
    {"m16n8k32", 32, "u8", "s8", "s32"},   {"m16n8k32", 32, "s8", "u8", "s32"},
    {"m16n8k32", 32, "u8", "u8", "s32"},
};

// Small integers, which every type has exactly.
u32 Encoded(const std::string& type, int value) {
  if (type == "f16") {
    const int e = value == 0 ? 0 : std::ilogb(std::fabs(value));
    if (value == 0) return 0;
    const u32 m = static_cast<u32>(std::ldexp(std::abs(value), 10 - e)) & 1023;
    return (value < 0 ? 0x8000u : 0) | static_cast<u32>(e + 15) << 10 | m;
  }
  const u32 f = std::bit_cast<u32>(static_cast<float>(value));
  if (type == "bf16") return f >> 16;
  if (type == "tf32" || type == "f32") return f;
  return static_cast<u32>(value) & (type == "s32" ? ~0u : 255u);
}
int ElementBits(const std::string& type) {
  return type == "s8" || type == "u8" ? 8 : type == "f16" || type == "bf16" ? 16 : 32;
}

// The registers of a lane for a fragment: rows of `words` in the order that the ISA gives.
using Matrix = std::vector<std::vector<int>>;
std::vector<u32> FragmentA(const std::string& type, const Matrix& a, int lane) {
  const int per = 32 / ElementBits(type), span = 4 * per;
  std::vector<u32> words;
  for (size_t k = 0; k < a[0].size(); k += span) {
    for (const int row : {lane / 4, lane / 4 + 8}) {
      u32 word = 0;
      for (int n = 0; n < per; ++n) {
        word |= Encoded(type, a[row][k + lane % 4 * per + n]) << (n * ElementBits(type));
      }
      words.push_back(word);
    }
  }
  return words;
}
std::vector<u32> FragmentB(const std::string& type, const Matrix& b, int lane) {
  const int per = 32 / ElementBits(type), span = 4 * per;
  std::vector<u32> words;
  for (size_t k = 0; k < b.size(); k += span) {
    u32 word = 0;
    for (int n = 0; n < per; ++n) {
      word |= Encoded(type, b[k + lane % 4 * per + n][lane / 4]) << (n * ElementBits(type));
    }
    words.push_back(word);
  }
  return words;
}
std::vector<u32> FragmentC(const std::string& type, const Matrix& c, int lane) {
  std::vector<u32> words;
  for (const int row : {lane / 4, lane / 4 + 8}) {
    const u32 low = Encoded(type, c[row][lane % 4 * 2]),
              high = Encoded(type, c[row][lane % 4 * 2 + 1]);
    if (type == "f16") {
      words.push_back(high << 16 | low);
    } else {
      words.insert(words.end(), {low, high});
    }
  }
  return words;
}

Matrix RandomMatrix(int rows, int columns, bool is_signed, std::mt19937& random) {
  Matrix m(rows, std::vector<int>(columns));
  for (auto& row : m) {
    for (int& x : row) x = static_cast<int>(random() % 8) - (is_signed ? 4 : 0);
  }
  return m;
}

TEST(WarpOpcodesTest, ProductsOfMatrices) {
  for (const MatrixCase& c : kMatrices) {
    std::mt19937 random(7);
    const Matrix a = RandomMatrix(16, c.depth, c.a[0] != 'u', random),
                 b = RandomMatrix(c.depth, 8, c.b[0] != 'u', random),
                 sum = RandomMatrix(16, 8, true, random);
    Matrix want = sum;
    for (int r = 0; r < 16; ++r) {
      for (int k = 0; k < c.depth; ++k) {
        for (int n = 0; n < 8; ++n) want[r][n] += a[r][k] * b[k][n];
      }
    }
    std::vector<u32> in;
    size_t na = 0, nb = 0, nc = 0;
    for (int l = 0; l < 32; ++l) {
      for (const auto& [words, n] :
           {std::pair(FragmentA(c.a, a, l), &na), std::pair(FragmentB(c.b, b, l), &nb),
            std::pair(FragmentC(c.sum, sum, l), &nc)}) {
        in.insert(in.end(), words.begin(), words.end());
        *n = words.size();
      }
    }
    const size_t row = na + nb + nc;
    std::string body = "mad.wide.u32 %x1, %t, " + std::to_string(4 * row) + ", %p0;\n";
    for (size_t i = 0; i < row; ++i) {
      body +=
          "ld.global.u32 %r" + std::to_string(10 + i) + ", [%x1+" + std::to_string(4 * i) + "];\n";
    }
    const auto list = [](size_t first, size_t n) {
      std::string text = "{";
      for (size_t i = 0; i < n; ++i) text += (i ? ", %r" : "%r") + std::to_string(first + i);
      return text + "}";
    };
    body += std::string("mma.sync.aligned.") + c.shape + ".row.col." + c.sum + "." + c.a + "." +
            c.b + "." + c.sum + " " + list(0, nc) + ", " + list(10, na) + ", " + list(10 + na, nb) +
            ", " + list(10 + na + nb, nc) + ";\nmad.wide.u32 %x2, %t, " + std::to_string(4 * nc) +
            ", %p1;\n";
    for (size_t i = 0; i < nc; ++i) {
      body += "st.global.u32 [%x2+" + std::to_string(4 * i) + "], %r" + std::to_string(i) + ";\n";
    }
    Machine m;
    const u64 from = m.Upload(in), to = m.Allocate(32 * 4 * nc);
    const Outcome o = RunOnce(m, {{}, {32}, 0}, {from, to}, body);
    ASSERT_EQ(o.error, "") << c.shape << c.a;
    EXPECT_EQ(o.profile.total.mma, 1u);
    const auto got = m.Read<u32>(to, 32 * nc);
    for (int l = 0; l < 32; ++l) {
      const auto words = FragmentC(c.sum, want, l);
      for (size_t i = 0; i < nc; ++i) EXPECT_EQ(got[l * nc + i], words[i]) << c.shape << c.a << l;
    }
  }
}

TEST(WarpOpcodesTest, MatricesAreLoadedStraightAndTransposed) {
  std::vector<u16> tiles(4 * 64);
  for (size_t i = 0; i < tiles.size(); ++i) tiles[i] = static_cast<u16>(i);
  for (const int n : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      Machine m;
      const u64 in = m.Upload(tiles), out = m.Allocate(32 * 4 * 4);
      std::string list, stores;
      for (int i = 0; i < n; ++i) {
        list += (i ? ", %r" : "%r") + std::to_string(10 + i);
        stores += "st.global.u32 [%x2+" + std::to_string(4 * i) + "], %r" + std::to_string(10 + i) +
                  ";\n";
      }
      const Outcome o =
          RunOnce(m, {{}, {32}, 0}, {in, out},
                  R"(
        .shared .align 16 .b8 s[512];
        mad.wide.u32 %x1, %t, 16, %p0;
        ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%x1];
        mov.u32 %r5, s;
        mad.lo.u32 %r5, %t, 16, %r5;
        st.shared.v4.u32 [%r5], {%r1, %r2, %r3, %r4};
        bar.sync 0;
        ldmatrix.sync.aligned.m8n8.x)" +
                      std::to_string(n) + (transposed ? ".trans" : "") + ".shared.b16 {" + list +
                      "}, [%r5];\n" + "mad.wide.u32 %x2, %t, 16, %p1;\n" + stores);
      ASSERT_EQ(o.error, "");
      EXPECT_TRUE(o.reports.empty());
      const auto got = m.Read<u32>(out, 128);
      for (int l = 0; l < 32; ++l) {
        for (int i = 0; i < n; ++i) {
          const int r = l / 4, k = l % 4 * 2;
          const int low = transposed ? k * 8 + r : r * 8 + k;
          const int high = transposed ? (k + 1) * 8 + r : r * 8 + k + 1;
          EXPECT_EQ(got[l * 4 + i], tiles[64 * i + low] | u32{tiles[64 * i + high]} << 16);
        }
      }
    }
  }
}

}  // namespace
}  // namespace ptx
