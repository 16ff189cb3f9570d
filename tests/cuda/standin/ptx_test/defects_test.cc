#include <gtest/gtest.h>

#include <ostream>

#include "ptx_test/machine.h"

namespace ptx {
namespace {

// A kernel with a defect, which is noticed by these words; without it nothing is.
struct Defect {
  const char* what;
  const char* noticed;
  const char* defective;
  const char* clean;
  const char* before = "";
  u32 blocks = 1, threads = 64;
  u32 dynamic_shared = 0;
};

constexpr char kShared[] = R"(
    .shared .align 16 .b8 s[256];
    mov.u32 %r1, s;
    mad.lo.u32 %r2, %t, 4, %r1;          // the thread's own
    xor.b32 %r3, %t, 33;
    mad.lo.u32 %r3, %r3, 4, %r1;         // of another warp
    xor.b32 %r4, %t, 1;
    mad.lo.u32 %r4, %r4, 4, %r1;         // of the same warp
    mad.wide.u32 %x1, %t, 4, %p0;
    mad.wide.u32 %x2, %t, 4, %p1;        // a result
    mad.wide.u32 %x3, %block, 4, %p1;
)";

const Defect kDefects[] = {
    {"missing barrier", "read-after-write race",
     "st.shared.u32 [%r2], %t;\nld.shared.u32 %r5, [%r3];",
     "st.shared.u32 [%r2], %t;\nbar.sync 0;\nld.shared.u32 %r5, [%r3];"},
    {"missing barrier before the next use", "write-after-read race",
     "st.shared.u32 [%r2], %t;\nbar.sync 0;\nld.shared.u32 %r5, [%r3];\nst.shared.u32 [%r2], %r5;",
     "st.shared.u32 [%r2], %t;\nbar.sync 0;\nld.shared.u32 %r5, [%r3];\nbar.sync 0;\n"
     "st.shared.u32 [%r2], %r5;"},
    {"two warps write one word", "write-after-write race", "st.shared.u32 [s], %t;",
     "setp.eq.u32 %q1, %t, 0;\n@%q1 st.shared.u32 [s], %t;\nbar.sync 0;\n@!%q1 ld.shared.u32 %r5, "
     "[s];"},
    {"missing __syncwarp", "read-after-write race",
     "st.shared.u32 [%r2], %t;\nld.shared.u32 %r5, [%r4];",
     "st.shared.u32 [%r2], %t;\nbar.warp.sync -1;\nld.shared.u32 %r5, [%r4];"},
    {"missing __syncwarp before the next use", "write-after-read race",
     "st.shared.u32 [%r2], %t;\nbar.warp.sync -1;\nld.shared.u32 %r5, [%r4];\n"
     "st.shared.u32 [%r2], %r5;",
     "st.shared.u32 [%r2], %t;\nbar.warp.sync -1;\nld.shared.u32 %r5, [%r4];\n"
     "bar.warp.sync -1;\nst.shared.u32 [%r2], %r5;"},
    {"lanes that take turns at a word without __syncwarp", "read-after-write race",
     "st.shared.u32 [%r2], %t;\nld.shared.u32 %r5, [%r2];\nst.shared.u32 [%r2], %r5;\n"
     "ld.shared.u32 %r5, [%r4];\nst.shared.u32 [%r4], %r5;",
     "st.shared.u32 [%r2], %t;\nld.shared.u32 %r5, [%r2];\nst.shared.u32 [%r2], %r5;\n"
     "bar.warp.sync -1;\nld.shared.u32 %r5, [%r4];\nst.shared.u32 [%r4], %r5;"},
    {"an atomic beside a plain read", "race of a read and an atomic",
     "mov.u32 %r5, 0;\nst.shared.u32 [%r2], %r5;\nbar.sync 0;\nred.shared.add.u32 [s], 1;\n"
     "ld.shared.u32 %r5, [s];",
     "mov.u32 %r5, 0;\nst.shared.u32 [%r2], %r5;\nbar.sync 0;\nred.shared.add.u32 [s], 1;\n"
     "bar.sync 0;\nld.shared.u32 %r5, [s];"},
    {"shared memory that nobody wrote", "shared memory that nobody wrote",
     "setp.lt.u32 %q1, %t, 32;\n@%q1 st.shared.u32 [%r2], %t;\nbar.sync 0;\n"
     "ld.shared.u32 %r5, [%r3];",
     "st.shared.u32 [%r2], %t;\nbar.sync 0;\nld.shared.u32 %r5, [%r3];"},
    {"half of a word that nobody wrote", "shared memory that nobody wrote",
     "mov.b16 %h1, 1;\nst.shared.u16 [%r2], %h1;\nld.shared.u32 %r5, [%r2];",
     "mov.b16 %h1, 1;\nst.shared.u16 [%r2], %h1;\nst.shared.u16 [%r2+2], %h1;\n"
     "ld.shared.u32 %r5, [%r2];"},
    {"past a shared array", "beyond an array", "st.shared.u32 [%r2+4], %t;",
     "st.shared.u32 [%r2], %t;"},
    {"past all shared memory", "out of bounds", "st.shared.u32 [%r2+4096], %t;",
     "st.shared.u32 [%r2], %t;"},
    {"cp.async read before its wait", "cp.async is still bringing",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.commit_group;\n"
     "ld.shared.u32 %r5, [%r2];\ncp.async.wait_group 0;",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.commit_group;\n"
     "cp.async.wait_group 0;\nld.shared.u32 %r5, [%r2];"},
    {"cp.async waits for too few groups", "cp.async is still bringing",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.commit_group;\n"
     "cp.async.wait_group 1;\nld.shared.u32 %r5, [%r2];\ncp.async.wait_all;",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.commit_group;\n"
     "cp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.u32 %r5, [%r2];"},
    {"cp.async without a barrier", "read-after-write race",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.wait_all;\nld.shared.u32 %r5, [%r3];",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.wait_all;\nbar.sync 0;\n"
     "ld.shared.u32 %r5, [%r3];"},
    {"cp.async that nobody waits for", "nobody waited for",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.commit_group;",
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.commit_group;\n"
     "cp.async.wait_group 0;"},
    {"cp.async into what others still read", "write-after-read race",
     "st.shared.u32 [%r2], %t;\nbar.sync 0;\nld.shared.u32 %r5, [%r3];\n"
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.wait_all;",
     "st.shared.u32 [%r2], %t;\nbar.sync 0;\nld.shared.u32 %r5, [%r3];\nbar.sync 0;\n"
     "cp.async.ca.shared.global [%r2], [%x1], 4;\ncp.async.wait_all;"},
    {"past a global allocation", "global access out of bounds", "ld.global.u32 %r5, [%x1+4];",
     "ld.global.u32 %r5, [%x1];"},
    {"before a global allocation", "global access out of bounds", "ld.global.u32 %r5, [%x1+-4];",
     "ld.global.u32 %r5, [%x1];"},
    {"a misaligned vector", "misaligned", "ld.global.v2.u32 {%r5, %r6}, [%p0+4];",
     "ld.global.v2.u32 {%r5, %r6}, [%p0+8];"},
    {"global memory that nobody wrote", "global memory that nobody wrote",
     "ld.global.u32 %r5, [%x2];", "st.global.u32 [%x2], %t;\nld.global.u32 %r5, [%x2];"},
    {"part of a vector that nobody wrote", "global memory that nobody wrote",
     "st.global.u32 [%p1], %t;\nld.global.v2.u32 {%r5, %r6}, [%p1];",
     "st.global.u32 [%p1], %t;\nst.global.u32 [%p1+4], %t;\n"
     "ld.global.v2.u32 {%r5, %r6}, [%p1];",
     "", 1, 1},
    {"an atomic on what nobody wrote", "global memory that nobody wrote",
     "red.global.add.u32 [%x2], 1;", "st.global.u32 [%x2], %t;\nred.global.add.u32 [%x2], 1;"},
    {"two blocks write one word", "two blocks write one word", "st.global.u32 [%p1], %block;",
     "st.global.u32 [%x3], %block;", "", 4, 1},
    {"a block reads what another writes", "a block reads what another writes",
     "st.global.u32 [%x3], %block;\nld.global.u32 %r5, [%p1];",
     "st.global.u32 [%x3], %block;\nld.global.u32 %r5, [%x3];", "", 4, 1},
    {"a block writes what another read", "a block writes what another reads",
     "ld.global.u32 %r5, [%p0];\nst.global.u32 [%p0], %block;",
     "ld.global.u32 %r5, [%p0];\nst.global.u32 [%x3], %r5;", "", 4, 1},
    {"an atomic on what another block wrote", "an atomic on what another block wrote plainly",
     "st.global.u32 [%x3], %block;\nred.global.add.u32 [%p1], 1;", "red.global.add.u32 [%p0], 1;",
     "", 4, 1},
    {"a plain read of what others add to", "an atomic on what another block reads plainly",
     "red.global.add.u32 [%p0], 1;\nld.global.u32 %r5, [%p0];",
     "red.global.add.u32 [%p0], 1;\nld.global.relaxed.gpu.u32 %r5, [%p0];", "", 4, 1},
    {"a plain write of what others add to", "a block writes what another changes by atomics",
     "setp.eq.u32 %q1, %block, 3;\n@!%q1 red.global.add.u32 [%p0], 1;\n"
     "@%q1 st.global.u32 [%p0], 5;",
     "red.global.add.u32 [%p0], 1;", "", 4, 1},
    // The last block reads what the others wrote: after an atomic, and if they fenced.
    {"partial results without a fence", "a block reads what another writes",
     "st.global.u32 [%x3], %block;\natom.global.inc.u32 %r5, [%p0], 99;\n"
     "setp.eq.u32 %q1, %r5, 3;\n@%q1 ld.global.u32 %r6, [%p1];",
     "st.global.u32 [%x3], %block;\nmembar.gl;\natom.global.inc.u32 %r5, [%p0], 99;\n"
     "setp.eq.u32 %q1, %r5, 3;\n@%q1 ld.global.u32 %r6, [%p1];",
     "", 4, 1},
    {"partial results behind a fence of the block alone", "a block reads what another writes",
     "st.global.u32 [%x3], %block;\nfence.acq_rel.cta;\natom.global.inc.u32 %r5, [%p0], 99;\n"
     "setp.eq.u32 %q1, %r5, 3;\n@%q1 ld.global.u32 %r6, [%p1];",
     "st.global.u32 [%x3], %block;\nfence.acq_rel.gpu;\natom.global.inc.u32 %r5, [%p0], 99;\n"
     "setp.eq.u32 %q1, %r5, 3;\n@%q1 ld.global.u32 %r6, [%p1];",
     "", 4, 1},
    {"two blocks write halves that overlap", "two blocks write one word",
     "mov.b16 %h1, 1;\nst.global.u16 [%p1+2], %h1;",
     "mov.b16 %h1, 1;\nmad.wide.u32 %x4, %block, 2, %p1;\nst.global.u16 [%x4], %h1;", "", 4, 1},
    {"a shuffle from lanes that are off", "a lane that is off",
     "mov.u32 %r6, 3;\nsetp.gt.u32 %q1, %t, 1;\n@%q1 exit;\n"
     "shfl.sync.idx.b32 %r5, %t, 2, 31, %r6;",
     "mov.u32 %r6, 3;\nsetp.gt.u32 %q1, %t, 1;\n@%q1 exit;\n"
     "shfl.sync.idx.b32 %r5, %t, 1, 31, %r6;"},
    {"a warp-wide instruction in a branch", "lanes that never come",
     "and.b32 %r6, %t, 31;\nsetp.gt.u32 %q1, %r6, 7;\n@%q1 bra $Skip;\n"
     "shfl.sync.bfly.b32 %r5, %t, 1, 31, -1;\nbra $End;\n$Skip: bar.warp.sync -1;\n$End: ",
     "and.b32 %r6, %t, 31;\nsetp.gt.u32 %q1, %r6, 7;\n@%q1 bra $Skip;\n"
     "shfl.sync.bfly.b32 %r5, %t, 1, 31, 0xff;\n$Skip: bar.warp.sync -1;"},
    {"a lane that returned", "names a lane that returned",
     "setp.eq.u32 %q1, %t, 5;\n@%q1 exit;\nshfl.sync.bfly.b32 %r5, %t, 1, 31, -1;",
     "shfl.sync.bfly.b32 %r5, %t, 1, 31, -1;"},
    {"a divergent barrier", "divergent barrier",
     "and.b32 %r6, %t, 1;\nsetp.eq.u32 %q1, %r6, 0;\n@%q1 bra $A;\nbar.sync 0;\nbra $End;\n"
     "$A: bar.sync 0;\n$End: ",
     "bar.sync 0;"},
    {"different barriers", "different barriers",
     "setp.lt.u32 %q1, %t, 32;\n@%q1 bra $A;\nbar.sync 0;\nbra $End;\n$A: bar.sync 0;\n$End: ",
     "bar.sync 0;"},
};

class DefectsTest : public testing::TestWithParam<Defect> {
 protected:
  static Outcome Run(const Defect& d, const char* body, u64 seed) {
    Machine m;
    m.options.seed = seed;
    const u64 in = m.Upload(std::vector<u32>(64, 0)), out = m.Allocate(64 * 4);
    return RunOnce(m, {{d.blocks}, {d.threads}, d.dynamic_shared}, {in, out},
                   std::string(kShared) + body, d.before);
  }
};

TEST_P(DefectsTest, IsNoticed) {
  const Outcome o = Run(GetParam(), GetParam().defective, 0);
  EXPECT_TRUE(Noticed(o, GetParam().noticed))
      << GetParam().what << ": " << o.error
      << (o.reports.empty() ? "no reports" : *o.reports.begin());
}

TEST_P(DefectsTest, ACleanTwinIsNotBlamed) {
  for (const u64 seed : {0, 1, 2}) {
    const Outcome o = Run(GetParam(), GetParam().clean, seed);
    EXPECT_EQ(o.error, "") << GetParam().what;
    EXPECT_TRUE(o.reports.empty()) << GetParam().what << ": " << *o.reports.begin();
  }
}

void PrintTo(const Defect& d, std::ostream* out) { *out << d.what; }

INSTANTIATE_TEST_SUITE_P(, DefectsTest, testing::ValuesIn(kDefects), [](const auto& info) {
  std::string name = info.param.what;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace ptx
