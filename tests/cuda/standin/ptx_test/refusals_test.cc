#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ptx_test/machine.h"

namespace ptx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(RefusalsTest, WhatIsNotKnownIsRefusedWithItsLine) {
  const char* const kTexts[] = {
      // opcodes
      "brkpt;", "elect.sync _|%q1, -1;", "tex.2d.v4.f32.s32 %r1, [%x1];", "addc.u32 %r1, %r2, %r3;",
      "wgmma.fence.sync.aligned;", "mbarrier.init.shared.b64 [%x1], 1;", "frobnicate.u32 %r1, %r2;",
      // modifiers
      "add.approx.u32 %r1, %r2, %r3;", "add.rn.u32 %r1, %r2, %r3;", "add.sat.u32 %r1, %r2, %r3;",
      "mul.u32 %r1, %r2, %r3;", "fma.f32 %f1, %f2, %f3, %f4;",
      "fma.rn.relu.f32 %f1, %f2, %f3, %f4;", "add.rz.ftz.f32 %f1, %f2, %f3;",
      "div.f32 %f1, %f2, %f3;", "div.approx.rn.f32 %f1, %f2, %f3;", "ex2.f32 %f1, %f2;",
      "ex2.approx.sat.f32 %f1, %f2;", "cvt.f32.s32 %f1, %r1;", "cvt.s32.f32 %r1, %f1;",
      "cvt.rn.s32.f32 %r1, %f1;", "cvt.rn.e4m3x2.f32 %h1, %f1, %f2;",
      "cvt.rm.f16x2.f32 %r1, %f1, %f2;", "shf.l.b32 %r1, %r2, %r3, %r4;", "popc.u32 %r1, %r2;",
      "ld.global.frob.u32 %r1, [%x1];", "ld.global.gpu.u32 %r1, [%x1];",
      "ld.global.volatile.relaxed.gpu.u32 %r1, [%x1];", "st.const.u32 [%x1], %r1;",
      "ld.global.v3.u32 {%r1, %r2, %r3}, [%x1];", "ld.global.v2.u32 %r1, [%x1];",
      "atom.global.frob.u32 %r1, [%x1], %r2;", "atom.global.add.s64 %x2, [%x1], %x3;",
      "atom.global.inc.s32 %r1, [%x1], %r2;", "red.global.cas.b32 [%x1], %r1, %r2;",
      "atom.global.add.f16x2 %r1, [%x1], %r2;", "atom.global.and.u32 %r1, [%x1], %r2;",
      "cp.async.ca.shared.global [%r1], [%x1], 12;", "cp.async.cg.shared.global [%r1], [%x1], 8;",
      "shfl.idx.b32 %r1, %r2, %r3, 31;", "redux.sync.add.f32 %f1, %f2, -1;",
      "redux.sync.and.u32 %r1, %r2, -1;", "vote.sync.frob.pred %q1, %q2, -1;",
      "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2,%r3,%r4}, "
      "{%r5,%r6}, {%f5,%f6,%f7,%f8};",
      "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32 {%r1,%r2,%r3,%r4}, "
      "{%r5,%r6,%r7,%r8}, {%r9,%r10}, {%r11,%r12,%r13,%r14};",
      "bar.sync;", "bar.arrive 1;", "barrier.cluster.arrive;", "membar;", "fence.proxy.async;",
      "setp.lo.s32 %q1, %r1, %r2;", "setp.ltu.u32 %q1, %r1, %r2;", "setp.lt.b32 %q1, %r1, %r2;",
      "call %x1, ();", "prefetch.global [%x1];", "prefetch.global.L3 [%x1];",
      "prefetch.global.L2 %x1;", "griddepcontrol;", "griddepcontrol.frob;",
      "griddepcontrol.wait %r1;", "fence.acq_rel.cluster;",
      "createpolicy.range.b64 %x1, [%x2], 1, 2;",
      // types and operands
      "add.b32 %r1, %r2, %r3;", "and.u32 %r1, %r2, %r3;", "and.f32 %f1, %f2, %f3;",
      "add.u8 %h1, %h2, %h3;", "shl.u32 %r1, %r2, %r3;", "rem.f32 %f1, %f2, %f3;",
      "sin.approx.f64 %x1, %x2;", "lg2.approx.f16 %h1, %h2;", "add.u32 %r1, %x1, %r2;",
      "add.u64 %x1, %r1, %x2;", "add.u32 %r1, %q1, %r2;", "selp.u32 %r1, %r2, %r3, %r4;",
      "mov.u32 %r1, %nothing;", "mov.u32 %r1, %clock;", "mov.u32 %r1, nothing;", "bra %r1;",
      "add.u32 %r1, %r2;", "add.u32 %r1, %r2, %r3, %r4;", "@%r1 add.u32 %r1, %r2, %r3;",
      "bra $Nowhere;", ".frob;", ".reg .q32 %z;", "copysign.rn.f32 %f1, %f2, %f3;"};
  for (const char* const text : kTexts) {
    Machine m;
    const Outcome o = RunOnce(m, {}, {}, text);
    EXPECT_NE(o.error, "") << text;
    if (std::string(text).find("$Nowhere") == std::string::npos) {
      EXPECT_THAT(o.error, HasSubstr("PTX line ")) << text;
    }
  }
}

TEST(RefusalsTest, TheLineIsThatOfTheText) {
  Machine m;
  m.Load(
      ".visible .entry test()\n{\n  .reg .b32 %r<4>;\n\n  add.u32 %r1, %r2, %r3;\n"
      "  mul.frob.u32 %r1,\n    %r2, %r3;\n  ret;\n}\n");
  const Outcome o = m.Run("test", {}, {});
  EXPECT_THAT(o.error, AllOf(HasSubstr("PTX line 9"), HasSubstr("mul.frob.u32 %r1, %r2, %r3;")));
}

TEST(RefusalsTest, ModulesWithUnknownDeclarationsAreRefused) {
  for (const char* const text :
       {".tex .u64 t;", ".global .attribute(.managed) .u32 x;", ".entry k() .reqntid 32 { ret; }",
        ".global .align 4 .u32 x = nobody;", ".global .u32 x[2] = {1, 2, 3};"}) {
    Machine m;
    EXPECT_THROW(m.Load(text), Error) << text;
  }
}

}  // namespace
}  // namespace ptx
