// Attention of one layer on one thread, for every instruction set that the CPU has: decoding at
// several context lengths, and a prefill of 512 tokens. The shape is SmolLM2-135M's: 9 heads, 3 KV
// heads of 64. Decoding walks over as many sequences as fill 64 MB, so the cache comes from memory.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "hwy/targets.h"
#include "model/kernels/attention.h"

namespace peerage::kernels {
namespace {

constexpr AttentionShape kShape = {.heads = 9, .kv_heads = 3, .head_dim = 64, .scale = 0.125f};
constexpr int kWidth = kShape.heads * kShape.head_dim;

std::vector<float> RandomFloats(size_t n) {
  std::mt19937 random(1);
  std::vector<float> floats(n);
  for (float& x : floats) x = static_cast<float>(random()) / random.max() - 0.5f;
  return floats;
}

struct Cache {
  explicit Cache(int num_blocks) : kv(RandomFloats(num_blocks * KvBlockFloats(kShape))) {
    blocks.resize(num_blocks);
    std::iota(blocks.begin(), blocks.end(), 0);
  }
  std::vector<float> kv;
  std::vector<int32_t> blocks;
};

void ChooseTarget(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

void Count(benchmark::State& state, double multiply_adds, double bytes) {
  using benchmark::Counter;
  state.counters["FLOP/s"] = Counter(2 * multiply_adds, Counter::kIsIterationInvariantRate);
  state.counters["B/s"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

void Decode(benchmark::State& state, int64_t target, int context) {
  ChooseTarget(target);
  const int blocks_each = (context + kBlockTokens - 1) / kBlockTokens;
  const double bytes = double(blocks_each) * KvBlockFloats(kShape) * sizeof(float);
  const int sequences = std::max(1, static_cast<int>((64 << 20) / bytes));
  const Cache cache(sequences * blocks_each);
  const std::vector<float> q = RandomFloats(kWidth);
  std::vector<float> out(kWidth);
  const AttentionArgs args{kShape,     q.data(), kWidth, cache.kv.data(), KvBlockFloats(kShape),
                           out.data(), kWidth};
  int sequence = 0;
  for (auto _ : state) {
    const int32_t* blocks = cache.blocks.data() + sequence * blocks_each;
    for (int head = 0; head < kShape.kv_heads; ++head) {
      Attention(args, {0, 1, context - 1, head, blocks});
    }
    sequence = (sequence + 1) % sequences;
    benchmark::DoNotOptimize(out.data());
  }
  Count(state, 2.0 * context * kWidth, bytes);
}

void Prefill(benchmark::State& state, int64_t target, int tokens) {
  ChooseTarget(target);
  const Cache cache(tokens / kBlockTokens);
  const std::vector<float> q = RandomFloats(size_t{kWidth} * tokens);
  std::vector<float> out(q.size());
  const AttentionArgs args{kShape,     q.data(), kWidth, cache.kv.data(), KvBlockFloats(kShape),
                           out.data(), kWidth};
  for (auto _ : state) {
    for (int row = 0; row < tokens; row += kAttentionTokens) {
      for (int head = 0; head < kShape.kv_heads; ++head) {
        Attention(args, {row, kAttentionTokens, row, head, cache.blocks.data()});
      }
    }
    benchmark::DoNotOptimize(out.data());
  }
  Count(state, double(tokens) * (tokens + 1) * kWidth, 0);
}

void Register(int64_t target) {
  const std::string name = hwy::TargetName(target);
  for (const int context : {128, 1024, 8192}) {
    benchmark::RegisterBenchmark((name + "/decode/" + std::to_string(context)).c_str(), Decode,
                                 target, context);
  }
  benchmark::RegisterBenchmark((name + "/prefill/512").c_str(), Prefill, target, 512);
}

}  // namespace
}  // namespace peerage::kernels

int main(int argc, char** argv) {
  const int64_t supported = hwy::SupportedTargets();
  for (const int64_t target : {HWY_AVX3, HWY_AVX2}) {
    if ((supported & target) != 0) peerage::kernels::Register(target);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
