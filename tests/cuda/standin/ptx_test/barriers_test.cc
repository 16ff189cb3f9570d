#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ptx_test/machine.h"

namespace ptx {
namespace {

using testing::HasSubstr;

const char kStore[] = "mad.wide.u32 %x1, %t, 4, %p0;\nst.global.u32 [%x1], %r1;";

TEST(BarriersTest, ReductionsSeeEveryThread) {
  const std::pair<const char*, u32> kCases[] = {
      {"bar.red.popc.u32 %r1, 0, %q1;", 50},
      {"barrier.cta.red.popc.aligned.u32 %r1, 0, !%q1;", 46},
      {"bar.red.and.pred %q2, 0, %q1;\nselp.u32 %r1, 1, 0, %q2;", 0},
      {"bar.red.or.pred %q2, 0, %q1;\nselp.u32 %r1, 1, 0, %q2;", 1}};
  for (const auto& [text, want] : kCases) {
    Machine m;
    const u64 out = m.Allocate(96 * 4);
    const Outcome o =
        RunOnce(m, {{}, {96}, 0}, {out}, std::string("setp.lt.u32 %q1, %t, 50;\n") + text + kStore);
    ASSERT_EQ(o.error, "");
    EXPECT_TRUE(o.reports.empty());
    for (const u32 got : m.Read<u32>(out, 96)) EXPECT_EQ(got, want) << text;
  }
}

// The first warp fills what the second reads, by two named barriers; the third does not take part.
std::string Pipeline(const std::string& full, const std::string& empty) {
  return R"(
    .shared .align 4 .b8 box[128];
    and.b32 %r3, %t, 31;
    mov.u32 %r4, box;
    mad.lo.u32 %r4, %r3, 4, %r4;
    mov.u32 %r1, 0;
    mov.u32 %r5, 0;
    setp.ge.u32 %q1, %t, 64;
    @%q1 bra $Done;
    setp.ge.u32 %q2, %t, 32;
    @%q2 bra $Consumer;
    $Produce:
    )" + empty +
         R"(
    st.shared.u32 [%r4], %r5;
    bar.arrive 1, 64;
    add.u32 %r5, %r5, 1;
    setp.lt.u32 %q3, %r5, 4;
    @%q3 bra $Produce;
    bra $Done;
    $Consumer:
    bar.arrive 2, 64;
    $Consume:
    )" + full +
         R"(
    xor.b32 %r6, %r3, 1;
    mov.u32 %r7, box;
    mad.lo.u32 %r7, %r6, 4, %r7;
    ld.shared.u32 %r8, [%r7];
    add.u32 %r1, %r1, %r8;
    add.u32 %r5, %r5, 1;
    setp.lt.u32 %q3, %r5, 4;
    @%q3 bar.arrive 2, 64;
    @%q3 bra $Consume;
    $Done:
    bar.sync 0;
    )" + kStore;
}

TEST(BarriersTest, NamedBarriersOrderTheirWarps) {
  for (const u64 seed : {0, 1, 2, 3}) {
    Machine m;
    m.options.seed = seed;
    const u64 out = m.Allocate(96 * 4);
    const Outcome o =
        RunOnce(m, {{}, {96}, 0}, {out}, Pipeline("bar.sync 1, 64;", "barrier.sync 2, 64;"));
    ASSERT_EQ(o.error, "");
    EXPECT_TRUE(o.reports.empty()) << *o.reports.begin();
    EXPECT_EQ(m.Read<u32>(out, 96)[40], 0u + 1 + 2 + 3);
    EXPECT_EQ(m.Read<u32>(out, 96)[80], 0u);
  }
}

TEST(BarriersTest, WithoutANamedBarrierThereIsARace) {
  Machine m;
  const u64 out = m.Allocate(96 * 4);
  const Outcome o =
      RunOnce(m, {{}, {96}, 0}, {out}, Pipeline("", "bar.sync 2, 64;\nbar.sync 3, 32;"));
  EXPECT_TRUE(Noticed(o, "race in shared memory") || Noticed(o, "nobody wrote"))
      << o.error << o.reports.size();
}

TEST(BarriersTest, ABarrierThatNobodyCompletesIsAnError) {
  Machine m;
  EXPECT_THAT(RunOnce(m, {{}, {64}, 0}, {}, "bar.sync 1, 96;").error,
              HasSubstr("threads that never come"));
  EXPECT_THAT(RunOnce(m, {{}, {64}, 0}, {}, "bar.sync 1, 20;").error, HasSubstr("part of a warp"));
  EXPECT_THAT(RunOnce(m, {{}, {64}, 0}, {}, "mov.u32 %r1, 16;\nbar.sync %r1;").error,
              HasSubstr("no such barrier"));
}

TEST(BarriersTest, DivergentBarriersAreReported) {
  const std::string half = "setp.lt.u32 %q1, %t, 16;\n@%q1 bra $Skip;\nbar.sync 0;\n$Skip:\n";
  Machine m;
  EXPECT_TRUE(Noticed(RunOnce(m, {{}, {32}, 0}, {}, half + "bar.sync 0;"), "divergent barrier"));
  const std::string returned = "setp.lt.u32 %q1, %t, 40;\n@%q1 exit;\nbar.sync 0;";
  EXPECT_TRUE(Noticed(RunOnce(m, {{}, {64}, 0}, {}, returned), "barrier"));
  EXPECT_TRUE(RunOnce(m, {{}, {64}, 0}, {}, "bar.sync 0;\nbar.sync 0;").reports.empty());
}

// Kernels run one after the other, so that the second one waits for nothing.
TEST(BarriersTest, AKernelSeesWhatTheOneBeforeItWrote) {
  Machine m;
  const u64 out = m.Allocate(64 * 4);
  const Machine::Shape shape{{}, {64}, 0};
  const Outcome first =
      RunOnce(m, shape, {out},
              "griddepcontrol.launch_dependents;\nadd.u32 %r1, %t, 7;\n" + std::string(kStore));
  ASSERT_EQ(first.error, "");
  m.Load(KernelText(1, R"(
    griddepcontrol.wait;
    mad.wide.u32 %x1, %t, 4, %p0;
    ld.global.u32 %r1, [%x1];
    shl.b32 %r1, %r1, 1;
    st.global.u32 [%x1], %r1;)"));
  const Outcome second = m.Run("test", shape, {out});
  ASSERT_EQ(second.error, "");
  EXPECT_TRUE(second.reports.empty());
  const auto values = m.Read<u32>(out, 64);
  for (u32 t = 0; t < 64; ++t) EXPECT_EQ(values[t], 2 * (t + 7));
}

TEST(BarriersTest, AWarpThatSpinsLetsOthersWrite) {
  Machine m;
  const u64 out = m.Allocate(64 * 4);
  const Outcome o = RunOnce(m, {{}, {64}, 0}, {out}, std::string(R"(
    .shared .align 4 .b8 flag[4];
    mov.u32 %r1, 0;
    setp.eq.u32 %q1, %t, 0;
    @%q1 st.shared.u32 [flag], %r1;
    bar.sync 0;
    setp.ge.u32 %q2, %t, 32;
    @%q2 bra $Set;
    $Spin: nanosleep.u32 20;
    atom.shared.add.u32 %r1, [flag], 0;
    setp.eq.u32 %q3, %r1, 0;
    @%q3 bra $Spin;
    bra $End;
    $Set: mov.u32 %r2, 1;
    atom.shared.or.b32 %r1, [flag], %r2;
    $End: )") + kStore);
  ASSERT_EQ(o.error, "");
  EXPECT_EQ(m.Read<u32>(out, 64)[5], 1u);
}

}  // namespace
}  // namespace ptx
