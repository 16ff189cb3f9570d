// Mixtures of attention by themselves against one expert after the other in double.
#include "model/nn/cpu/mixture_attention.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>
#include <vector>

#include "tests/support/expert_loop.h"
#include "tests/support/layer_bench.h"
#include "tests/support/mixture_models.h"
#include "tests/support/odd_models.h"
#include "tests/support/random_values.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kAttended = 33;
constexpr double kAttendedNear = 2e-5;

// Layer 0's mixture of attention over one sequence.
DoubleRows AttendNaively(const MemoryCheckpoint& checkpoint, const std::vector<float>& u,
                         const std::vector<float>& x) {
  DoubleRows y = ToRows(x, kAttended);
  AddAttentionLoop(checkpoint, 0, ToRows(u, kAttended), y);
  return y;
}

TEST(MixtureAttentionTest, IsOneExpertAfterTheOther) {
  for (const MixtureKv kv : {MixtureKv::kShared, MixtureKv::kExpert}) {
    for (const auto& [experts, top_k, normalize] :
         {std::tuple{3, 3, false}, {4, 2, false}, {4, 1, true}, {1, 1, false}}) {
      const AttentionConfig config = TopKAttention(SoftAttention(experts, kv), top_k, normalize);
      const MemoryCheckpoint checkpoint(OddModel(config, {DenseFfnConfig{31}}), 17);
      LayerBench bench(checkpoint, {.threads = 2});
      const MixtureAttention attention = bench.Load([&](WeightPlacer& placer) {
        return MixtureAttention::Place(
            std::get<MixtureAttentionPlan>(bench.plan().blocks[0].attention), placer);
      });
      bench.LayBuffers();
      for (const int tokens : {1, 33, 70}) {
        const std::vector<float> u = RandomValues(tokens * kAttended, tokens);
        const std::vector<float> x = RandomValues(tokens * kAttended, tokens + 1);
        const StepContext step = bench.Begin({{tokens, 0, {0, 1, 2}}});
        bench.SetResidual(x);
        attention.Forward(step, bench.Input(u), bench.kv_cache().layer(0));
        ExpectRowsNear(bench.Residual(), AttendNaively(checkpoint, u, x), kAttendedNear);
      }
    }
  }
}

// Keys and values are of every token, whatever its gates: an expert that is picked later finds
// them.
TEST(MixtureAttentionTest, KeysOfExpertsThatWereNotPickedAreThere) {
  const AttentionConfig config = TopKAttention(SoftAttention(4, MixtureKv::kExpert), 1, false);
  const MemoryCheckpoint checkpoint(OddModel(config, {DenseFfnConfig{31}}), 18);
  LayerBench bench(checkpoint, {});
  const MixtureAttention attention = bench.Load([&](WeightPlacer& placer) {
    return MixtureAttention::Place(std::get<MixtureAttentionPlan>(bench.plan().blocks[0].attention),
                                   placer);
  });
  bench.LayBuffers();
  const std::vector<float> u = RandomValues(31 * kAttended, 3), x(31 * kAttended);
  std::vector<float> fed;
  std::set<uint32_t> picked;
  for (int t = 0; t < 31; ++t) {
    const StepContext step = bench.Begin({{1, t, {2}}});
    bench.SetResidual(std::vector<float>(kAttended));
    attention.Forward(step,
                      bench.Input({u.begin() + t * kAttended, u.begin() + (t + 1) * kAttended}),
                      bench.kv_cache().layer(0));
    const std::vector<float> row = bench.Residual();
    fed.insert(fed.end(), row.begin(), row.end());
    picked.insert(bench.counters().picks(0).ids[0]);
  }
  EXPECT_GT(picked.size(), 1u);
  ExpectRowsNear(fed, AttendNaively(checkpoint, u, x), kAttendedNear);
}

}  // namespace
}  // namespace peerage::nn::cpu
