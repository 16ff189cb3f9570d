#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ptx_test/machine.h"

namespace ptx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const char kStore[] = "mad.wide.u32 %x1, %t, 4, %p0;\nst.global.u32 [%x1], %r1;";

TEST(FunctionsTest, ArgumentsAndResultsAreTheThreadsOwn) {
  Machine m;
  const u64 out = m.Allocate(64 * 4);
  const Outcome o = RunOnce(m, {{}, {64}, 0}, {out}, std::string(R"(
    { .param .b32 a; .param .align 8 .b8 b[16]; .param .b32 result;
      st.param.b32 [a], %t;
      mul.wide.u32 %x2, %t, 100;
      st.param.b64 [b+8], %x2;
      call.uni (result), Sum, (a, b);
      ld.param.b32 %r1, [result]; })") + kStore,
                            R"(
    .func (.param .b32 r) Sum(.param .b32 x, .param .align 8 .b8 y[16])
    {
      .reg .b32 %r<9>; .reg .b64 %x<5>; .reg .pred %p;
      ld.param.u32 %r1, [x];
      ld.param.u64 %x1, [y+8];
      cvt.u32.u64 %r2, %x1;
      setp.lt.u32 %p, %r1, 10;
      @%p bra $Small;
      add.u32 %r3, %r1, %r2;
      st.param.b32 [r], %r3;
      ret;
    $Small:
      st.param.b32 [r], %r2;
      ret;
    })");
  ASSERT_EQ(o.error, "");
  const auto values = m.Read<u32>(out, 64);
  for (u32 t = 0; t < 64; ++t) EXPECT_EQ(values[t], t < 10 ? 100 * t : 101 * t);
}

TEST(FunctionsTest, GuardedCallsLeaveTheOthersAlone) {
  Machine m;
  const u64 out = m.Allocate(32 * 4);
  const Outcome o = RunOnce(m, {{}, {32}, 0}, {out}, std::string(R"(
    { .param .b32 result;
      mov.u32 %r2, 5;
      st.param.b32 [result], %r2;
      setp.gt.u32 %q1, %t, 3;
      @%q1 call (result), Seven;
      ld.param.b32 %r1, [result]; })") + kStore,
                            R"(
    .func (.param .b32 r) Seven()
    { .reg .b32 %r; mov.u32 %r, 7; st.param.b32 [r], %r; ret; })");
  ASSERT_EQ(o.error, "");
  const auto values = m.Read<u32>(out, 32);
  EXPECT_EQ(values[3], 5u);
  EXPECT_EQ(values[4], 7u);
}

TEST(FunctionsTest, CallsWithinCallsAndTwiceTheSame) {
  Machine m;
  const u64 out = m.Allocate(32 * 4);
  const char kOnce[] =
      "{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call (b), Four, (a); "
      "ld.param.b32 %r1, [b]; }\n";
  const Outcome o = RunOnce(m, {{}, {32}, 0}, {out},
                            std::string("mov.u32 %r1, %t;\n") + kOnce + kOnce + kStore, R"(
    .func (.param .b32 r) Two(.param .b32 x)
    { .reg .b32 %r; ld.param.b32 %r, [x]; shl.b32 %r, %r, 1; st.param.b32 [r], %r; ret; }
    .func (.param .b32 r) Four(.param .b32 x)
    { .reg .b32 %r; ld.param.b32 %r, [x];
      { .param .b32 a; .param .b32 b; st.param.b32 [a], %r; call (b), Two, (a);
        ld.param.b32 %r, [b]; }
      { .param .b32 a; .param .b32 b; st.param.b32 [a], %r; call (b), Two, (a);
        ld.param.b32 %r, [b]; }
      st.param.b32 [r], %r; ret; })");
  ASSERT_EQ(o.error, "");
  EXPECT_EQ(m.Read<u32>(out, 32)[31], 16u * 31);
}

TEST(FunctionsTest, RecursionIsRefused) {
  Machine m;
  const Outcome o = RunOnce(m, {}, {}, "call Again;", ".func Again() { call Again; ret; }");
  EXPECT_THAT(o.error, HasSubstr("recursion"));
}

TEST(FunctionsTest, LocalMemoryIsTheThreadsOwn) {
  Machine m;
  const u64 out = m.Allocate(64 * 4);
  const Outcome o = RunOnce(m, {{}, {64}, 0}, {out}, std::string(R"(
    .local .align 8 .b8 depot[64];
    mov.u64 %x2, depot;
    cvta.local.u64 %x3, %x2;
    and.b32 %r2, %t, 7;
    mad.wide.u32 %x4, %r2, 4, %x3;
    st.u32 [%x4], %t;                 // generic
    mad.wide.u32 %x5, %r2, 4, %x2;
    ld.local.u32 %r1, [%x5];)") + kStore);
  ASSERT_EQ(o.error, "");
  for (u32 t = 0; t < 64; ++t) EXPECT_EQ(m.Read<u32>(out, 64)[t], t);
  const Outcome beyond =
      RunOnce(m, {}, {}, ".local .b8 small[8];\nmov.u32 %r1, 1;\nst.local.u32 [small+8], %r1;");
  EXPECT_THAT(beyond.error, HasSubstr("local access out of bounds"));
}

TEST(FunctionsTest, VariablesHaveInitialValuesAndAddresses) {
  Machine m;
  const u64 out = m.Allocate(4 * 4);
  const Outcome o = RunOnce(m, {{}, {1}, 0}, {out}, R"(
    ld.global.u32 %r1, [counter];
    ld.const.f32 %f1, [table+4];
    ld.global.u64 %x2, [pointer];
    ld.u32 %r2, [%x2];
    mov.u64 %x3, counter;
    atom.global.add.u32 %r3, [%x3], 10;
    st.global.u32 [%p0], %r1;
    st.global.f32 [%p0+4], %f1;
    st.global.u32 [%p0+8], %r2;)",
                            R"(
    .visible .global .align 4 .u32 counter = 5;
    .const .align 4 .f32 table[3] = {0f3f800000, 0f40000000};
    .global .align 8 .u64 pointer = generic(counter);
    .global .align 4 .b8 zeros[16];)");
  ASSERT_EQ(o.error, "");
  EXPECT_THAT(m.Read<u32>(out, 3), ElementsAre(5, 0x40000000, 5));
  EXPECT_EQ(m.Read<u32>(m.module().globals().at("counter"), 1)[0], 15u);
  EXPECT_EQ(m.Read<u32>(m.module().globals().at("zeros"), 4)[3], 0u);
}

TEST(FunctionsTest, PrintfIsFormatted) {
  Machine m;
  const Outcome o = RunOnce(m, {{}, {2}, 0}, {}, R"(
    .local .align 8 .b8 depot[32];
    mov.u64 %x1, depot;
    cvta.local.u64 %x2, %x1;
    st.local.u32 [%x1], %t;
    mov.f64 %y1, 0d3ff8000000000000;
    st.local.f64 [%x1+8], %y1;
    mov.u64 %x3, text;
    st.local.u64 [%x1+16], %x3;
    mov.u64 %x4, format;
    { .param .b64 a; .param .b64 b; .param .b32 r;
      st.param.b64 [a], %x4; st.param.b64 [b], %x2;
      call.uni (r), vprintf, (a, b);
      ld.param.b32 %r1, [r]; })",
                            R"(
    .extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);
    .global .align 1 .b8 format[17] = {37,52,100,32,37,46,50,102,32,37,115,32,37,37,10};
    .global .align 1 .b8 text[3] = {111, 107, 0};)");
  ASSERT_EQ(o.error, "");
  EXPECT_EQ(o.printed, "   0 1.50 ok %\n   1 1.50 ok %\n");
}

TEST(FunctionsTest, IndexedBranchesGoWhereTheirTableSays) {
  Machine m;
  const u64 out = m.Allocate(32 * 4);
  const Outcome o = RunOnce(m, {{}, {32}, 0}, {out}, std::string(R"(
    rem.u32 %r2, %t, 3;
    $Table: .branchtargets $A, $B, $C;
    brx.idx %r2, $Table;
    $A: mov.u32 %r1, 10; bra $End;
    $B: mov.u32 %r1, 20; bra $End;
    $C: mov.u32 %r1, 30;
    $End: )") + kStore);
  ASSERT_EQ(o.error, "");
  const auto values = m.Read<u32>(out, 32);
  for (u32 t = 0; t < 32; ++t) EXPECT_EQ(values[t], 10 + 10 * (t % 3));
}

TEST(FunctionsTest, TrapsAndAssertionsEndTheLaunch) {
  Machine m;
  const Outcome trapped = RunOnce(m, {{}, {32}, 0}, {}, "setp.eq.u32 %q1, %t, 9;\n@%q1 trap;");
  EXPECT_THAT(trapped.error, HasSubstr("trap"));
  EXPECT_THAT(trapped.error, HasSubstr("thread 9"));
}

}  // namespace
}  // namespace ptx
