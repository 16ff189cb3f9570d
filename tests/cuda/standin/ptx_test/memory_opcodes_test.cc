#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "ptx_test/machine.h"

namespace ptx {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(MemoryOpcodesTest, VectorsOfEveryWidth) {
  std::vector<u8> bytes(64);
  std::iota(bytes.begin(), bytes.end(), u8{1});
  for (const int size : {8, 16, 32, 64}) {
    for (const int lanes : {1, 2, 4, 8}) {
      if (size * lanes > 256) continue;
      Machine m;
      const u64 in = m.Upload(bytes), out = m.Upload(std::vector<u8>(64, 0));
      std::string registers;
      for (int i = 0; i < lanes; ++i) {
        registers +=
            (i == 0 ? "" : ", ") + std::string(size == 64 ? "%y" : "%r") + std::to_string(10 + i);
      }
      const std::string type =
          (lanes == 1 ? "" : ".v" + std::to_string(lanes)) + ".b" + std::to_string(size);
      const std::string vector = lanes == 1 ? registers : "{" + registers + "}";
      const Outcome o = RunOnce(m, {}, {in, out},
                                "ld.global" + type + " " + vector + ", [%p0+32];\nst.global" +
                                    type + " [%p1], " + vector + ";");
      ASSERT_EQ(o.error, "") << type;
      const auto got = m.Read<u8>(out, 64);
      for (int i = 0; i < 64; ++i) EXPECT_EQ(got[i], i < size * lanes / 8 ? 33 + i : 0) << type;
    }
  }
}

TEST(MemoryOpcodesTest, NarrowLoadsAreExtended) {
  Machine m;
  const u64 in = m.Upload(std::vector<u8>{0x80, 0xff, 0xfe, 0xff}), out = m.Allocate(40);
  const Outcome o = RunOnce(m, {}, {in, out}, R"(
    ld.global.s8 %r1, [%p0];   st.global.u32 [%p1], %r1;
    ld.global.u8 %r1, [%p0];   st.global.u32 [%p1+4], %r1;
    ld.global.s16 %r1, [%p0+2]; st.global.u32 [%p1+8], %r1;
    ld.global.nc.L1::no_allocate.L2::128B.u16 %r1, [%p0+2]; st.global.u32 [%p1+12], %r1;
    ld.global.s8 %x1, [%p0];   st.global.u64 [%p1+16], %x1;
    ld.global.u32 %x1, [%p0];  st.global.u64 [%p1+24], %x1;
    ld.global.s32 %x1, [%p0];  st.global.u64 [%p1+32], %x1;)");
  ASSERT_EQ(o.error, "");
  EXPECT_THAT(m.Read<u32>(out, 4), ElementsAre(0xffffff80, 0x80, 0xfffffffe, 0xfffe));
  EXPECT_THAT(m.Read<u64>(out + 16, 3),
              ElementsAre(0xffffffffffffff80, 0xfffeff80, 0xfffffffffffeff80));
}

TEST(MemoryOpcodesTest, GenericAddressesFindTheirSpaceInEachLane) {
  Machine m;
  const u64 in = m.Upload(std::vector<u32>(32, 7)), out = m.Allocate(32 * 4);
  const Outcome o = RunOnce(m, {{}, {32}, 0}, {in, out}, R"(
    .shared .align 4 .b8 s[128];
    mov.u64 %x1, s;
    mad.wide.u32 %x2, %t, 4, %x1;
    st.shared.u32 [%x2], %t;
    cvta.shared.u64 %x3, %x2;
    mad.wide.u32 %x4, %t, 4, %p0;
    isspacep.shared %q1, %x3;
    isspacep.global %q2, %x4;
    and.pred %q1, %q1, %q2;
    setp.lt.and.u32 %q3, %t, 16, %q1;
    selp.b64 %x5, %x3, %x4, %q3;
    ld.u32 %r1, [%x5];
    mad.wide.u32 %x6, %t, 4, %p1;
    st.u32 [%x6], %r1;)");
  ASSERT_EQ(o.error, "");
  const auto got = m.Read<u32>(out, 32);
  for (u32 t = 0; t < 32; ++t) EXPECT_EQ(got[t], t < 16 ? t : 7);
}

struct AtomicCase {
  const char* op;
  const char* type;
  u64 start, operand, want;  // after one lane; the old value is returned
};
const AtomicCase kAtomics[] = {
    {"add", "u32", 5, 0xffffffff, 4},
    {"add", "s32", 5, 0xfffffff0, 0xfffffff5},
    {"add", "u64", ~u64{0}, 3, 2},
    {"add", "f32", 0x3f800000, 0x40000000, 0x40400000},
    {"add", "f64", 0x3ff0000000000000, 0x3ff0000000000000, 0x4000000000000000},
    {"min", "u32", 5, 0xffffffff, 5},
    {"min", "s32", 5, 0xffffffff, 0xffffffff},
    {"max", "u32", 5, 0xffffffff, 0xffffffff},
    {"max", "s32", 5, 0xffffffff, 5},
    {"min", "s64", 5, ~u64{0}, ~u64{0}},
    {"max", "u64", 5, ~u64{0}, ~u64{0}},
    {"min", "u64", 5, ~u64{0}, 5},
    {"max", "s64", 5, ~u64{0}, 5},
    {"and", "b32", 0xff00, 0x0ff0, 0x0f00},
    {"or", "b64", 0xff00, 0x0ff0, 0xfff0},
    {"xor", "b32", 0xff00, 0x0ff0, 0xf0f0},
    {"exch", "b32", 5, 9, 9},
    {"exch", "b64", 5, 9, 9},
    {"inc", "u32", 5, 9, 6},
    {"inc", "u32", 9, 9, 0},
    {"dec", "u32", 5, 9, 4},
    {"dec", "u32", 0, 9, 9},
    {"dec", "u32", 12, 9, 9},
};

TEST(MemoryOpcodesTest, AtomicsOfEveryTypeInEverySpace) {
  for (const AtomicCase& c : kAtomics) {
    const bool wide = std::string(c.type).ends_with("64");
    const std::string bits = wide ? "b64" : "b32", old = wide ? "%y1" : "%r1",
                      operand = wide ? "%y2" : "%r2";
    for (const std::string space : {".global", ".shared", "", ".relaxed.gpu.global"}) {
      Machine m;
      const u64 cell = m.Upload(std::vector<u64>{c.start}), result = m.Allocate(16),
                value = m.Upload(std::vector<u64>{c.operand});
      const bool shared = space == ".shared";
      const Outcome o = RunOnce(
          m, {}, {cell, result, value},
          ".shared .align 8 .b8 s[8];\nld.global." + bits + " " + operand + ", [%p2];\n" +
              "ld.global.u64 %y3, [%p0];\nst.shared.u64 [s], %y3;\nmov.u64 %x1, s;\n" + "atom" +
              space + "." + c.op + "." + c.type + " " + old + ", [" + (shared ? "%x1" : "%p0") +
              "], " + operand + ";\nst.global." + bits + " [%p1], " + old + ";\n" +
              (shared ? "ld.shared.u64 %y3, [s];\nst.global.u64 [%p0], %y3;" : ""));
      ASSERT_EQ(o.error, "") << c.op << c.type << space;
      const u64 mask = wide ? ~u64{0} : 0xffffffff;
      EXPECT_EQ(m.Read<u64>(cell, 1)[0] & mask, c.want) << c.op << c.type << space;
      EXPECT_EQ(m.Read<u64>(result, 1)[0] & mask, c.start) << c.op << c.type << space;
    }
  }
}

TEST(MemoryOpcodesTest, CompareAndSwapOfEveryWidth) {
  for (const int size : {16, 32, 64}) {
    Machine m;
    const u64 cell = m.Upload(std::vector<u64>{7, 8});
    const std::string r = size == 16 ? "%h" : size == 32 ? "%r" : "%y", n = std::to_string(size);
    const auto cas = [&](int at) {
      return "atom.global.cas.b" + n + " " + r + "1, [%p0+" + std::to_string(at) + "], " + r +
             "2, " + r + "3;\n";
    };
    const Outcome o =
        RunOnce(m, {}, {cell},
                "mov.b" + n + " " + r + "2, 7;\nmov.b" + n + " " + r + "3, 9;\n" + cas(0) + cas(8));
    ASSERT_EQ(o.error, "");
    EXPECT_THAT(m.Read<u64>(cell, 2), ElementsAre(9, 8));
  }
}

TEST(MemoryOpcodesTest, EveryLaneCountsOnceOnSeveralThreads) {
  Machine m;
  m.options.threads = 3;
  const u64 cell = m.Upload(std::vector<u32>{0, 0});
  const Outcome o = RunOnce(m, {{50}, {100}, 0}, {cell},
                            "red.global.add.u32 [%p0], 1;\nred.global.max.u32 [%p0+4], %t;");
  ASSERT_EQ(o.error, "");
  EXPECT_TRUE(o.reports.empty());
  EXPECT_THAT(m.Read<u32>(cell, 2), ElementsAre(5000, 99));
}

TEST(MemoryOpcodesTest, CopiesAreFilledWithZeros) {
  for (const u32 bytes : {0, 5, 16}) {
    Machine m;
    const u64 in = m.Upload(std::vector<u8>(bytes == 0 ? 1 : bytes, 0xab)), out = m.Allocate(16);
    const Outcome o = RunOnce(m, {}, {in, out}, R"(
      .shared .align 16 .b8 s[16];
      mov.u32 %r2, s;
      mov.u32 %r1, )" + std::to_string(bytes) + R"(;
      createpolicy.fractional.L2::evict_first.b64 %y1, 0f3f800000;
      cp.async.cg.shared.global.L2::cache_hint.L2::128B [%r2], [%p0], 16, %r1, %y1;
      cp.async.wait_all;
      ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [s];
      st.global.v4.u32 [%p1], {%r10, %r11, %r12, %r13};)");
    ASSERT_EQ(o.error, "") << bytes;
    EXPECT_TRUE(o.reports.empty()) << *o.reports.begin();
    const auto got = m.Read<u8>(out, 16);
    for (u32 i = 0; i < 16; ++i) EXPECT_EQ(got[i], i < bytes ? 0xab : 0) << bytes;
  }
}

TEST(MemoryOpcodesTest, PrefetchesChangeNothingAndReadNothing) {
  Machine m;
  const u64 in = m.Upload(std::vector<u32>{1, 2}), unset = m.Allocate(4), out = m.Allocate(8);
  const Outcome o = RunOnce(m, {{}, {32}, 0}, {in, unset, out}, R"(
    prefetch.global.L1 [%p0];
    prefetch.global.L2 [%p0+4];
    prefetch.L2 [%p1];
    prefetch.global.L2::evict_last [%p1];
    prefetch.global.L2::evict_normal [%p0+1048576];
    ld.global.v2.u32 {%r10, %r11}, [%p0];
    st.global.v2.u32 [%p2], {%r11, %r10};)");
  ASSERT_EQ(o.error, "");
  EXPECT_THAT(o.reports, testing::IsEmpty()) << "nobody reads what is prefetched";
  EXPECT_EQ(o.profile.total.load_requests, 1u);
  EXPECT_THAT(m.Read<u32>(in, 2), ElementsAre(1, 2));
  EXPECT_THAT(m.Read<u32>(out, 2), ElementsAre(2, 1));
}

TEST(MemoryOpcodesTest, DynamicSharedMemoryLiesBehindTheStatic) {
  Machine m;
  const u64 out = m.Allocate(64 * 4);
  const Outcome o = RunOnce(m, {{}, {64}, 256}, {out}, R"(
    mov.u32 %r1, dynamic;
    .shared .align 4 .b8 fixed[256];
    mad.lo.u32 %r2, %t, 4, %r1;
    mov.u32 %r3, fixed;
    mad.lo.u32 %r4, %t, 4, %r3;
    st.shared.u32 [%r4], %t;
    add.u32 %r5, %t, 100;
    st.shared.u32 [%r2], %r5;
    ld.shared.u32 %r6, [%r4];
    ld.shared.u32 %r7, [%r2];
    add.u32 %r6, %r6, %r7;
    mad.wide.u32 %x1, %t, 4, %p0;
    st.global.u32 [%x1], %r6;)",
                            ".extern .shared .align 16 .b8 dynamic[];");
  ASSERT_EQ(o.error, "");
  for (u32 t = 0; t < 64; ++t) EXPECT_EQ(m.Read<u32>(out, 64)[t], 2 * t + 100);
}

TEST(MemoryOpcodesTest, SectorsAndBankConflictsAreCounted) {
  const auto run = [](const std::string& body) {
    Machine m;
    const u64 in = m.Upload(std::vector<u32>(4096, 0));
    const Outcome o =
        RunOnce(m, {{}, {32}, 0}, {in}, ".shared .align 16 .b8 s[8192];\nmov.u32 %r1, s;\n" + body);
    EXPECT_EQ(o.error, "");
    return o.profile.total;
  };
  EXPECT_EQ(run("mad.wide.u32 %x1, %t, 4, %p0;\nld.global.u32 %r2, [%x1];").load_sectors, 4u);
  EXPECT_EQ(run("mad.wide.u32 %x1, %t, 128, %p0;\nld.global.u32 %r2, [%x1];").load_sectors, 32u);
  EXPECT_EQ(run("ld.global.u32 %r2, [%p0];").load_sectors, 1u);
  EXPECT_EQ(run("mad.lo.u32 %r2, %t, 4, %r1;\nst.shared.u32 [%r2], %t;").bank_conflicts, 0u);
  EXPECT_EQ(run("mad.lo.u32 %r2, %t, 8, %r1;\nst.shared.u32 [%r2], %t;").bank_conflicts, 1u);
  EXPECT_EQ(run("mad.lo.u32 %r2, %t, 128, %r1;\nst.shared.u32 [%r2], %t;").bank_conflicts, 31u);
}

}  // namespace
}  // namespace ptx
