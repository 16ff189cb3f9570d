// Finding the experts of a token on one thread, without the query projection: sub-key scores and
// selection, then the combination of the halves. 8 heads with sub-keys of their own, 16 experts
// each, half keys of 128. Times are per token; the batch is 256 tokens, or 8 that go on alone.
//   router_bench [--benchmark_filter=...]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "hwy/targets.h"
#include "model/kernels/float16.h"
#include "model/kernels/product_keys.h"

namespace peerage::kernels {
namespace {

constexpr int kHeads = 8;
constexpr int kTopK = 16;
constexpr int kWidth = 128;
constexpr int kTokensAtOnce = 32;  // as the layer takes them

std::vector<float> RandomFloats(size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> floats(n);
  for (float& x : floats) x = normal(random);
  return floats;
}

struct Shape {
  int64_t target;
  WeightFormat format;
  int n;
  int tokens;
};

struct Router {
  explicit Router(const Shape& s)
      : shape(s),
        queries(RandomFloats(size_t(s.tokens) * kHeads * 2 * kWidth)),
        values(size_t(kTokensAtOnce) * kHeads * 2 * kTopK),
        ids(values.size()),
        expert_ids(size_t(kTokensAtOnce) * kHeads * kTopK),
        weights(expert_ids.size()),
        scratch(hwy::AllocateAligned<uint8_t>(SubKeyTopKScratch(s.n, kWidth))) {
    const SubKeys set{s.n, kWidth, s.format, nullptr};
    const std::vector<float> keys = RandomFloats(size_t(s.n) * kWidth);
    std::vector<uint8_t> rows(keys.size() * 4);
    for (size_t i = 0; i < keys.size(); ++i) {
      const uint16_t bf16 = BF16FromF32(keys[i]);
      if (s.format == WeightFormat::kF32) std::memcpy(&rows[4 * i], &keys[i], 4);
      if (s.format == WeightFormat::kBF16) std::memcpy(&rows[2 * i], &bf16, 2);
    }
    const size_t bytes = (SubKeyBytes(set) + 4095) / 4096 * 4096;
    packed = hwy::AllocateAligned<uint8_t>(bytes * 2);
    for (int half = 0; half < 2; ++half) {
      sets[half] = set;
      sets[half].data = packed.get() + half * bytes;
      PackSubKeys(set, rows.data(), packed.get() + half * bytes);
    }
  }

  void Select(int first, int tokens) {
    for (int half = 0; half < 2; ++half) {
      SubKeyTopK({.keys = sets[half],
                  .queries = queries.data() + (size_t(first) * kHeads * 2 + half) * kWidth,
                  .stride = 2 * kWidth,
                  .rows = tokens * kHeads,
                  .k = kTopK,
                  .values = values.data() + half * kTopK,
                  .ids = ids.data() + half * kTopK,
                  .out_stride = 2 * kTopK,
                  .scratch = scratch.get()});
    }
  }

  void Combine(int tokens) {
    CombineHalves({.rows = tokens * kHeads,
                   .n = shape.n,
                   .listed = kTopK,
                   .k = kTopK,
                   .values = values.data(),
                   .ids = ids.data(),
                   .stride = 2 * kTopK,
                   .half_stride = kTopK,
                   .expert_ids = expert_ids.data(),
                   .weights = weights.data(),
                   .out_stride = kTopK});
  }

  Shape shape;
  std::vector<float> queries, values;
  std::vector<int32_t> ids;
  std::vector<uint32_t> expert_ids;
  std::vector<float> weights;
  hwy::AlignedFreeUniquePtr<uint8_t[]> scratch, packed;
  SubKeys sets[2];
};

// As on a CPU that has nothing better; better targets are lower bits.
void ChooseTarget(int64_t target) {
  hwy::SetSupportedTargetsForTest(0);
  hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & ~(target - 1));
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// Google Benchmark's iterations are tokens.
template <typename Step>
void Run(benchmark::State& state, const Shape& shape, const Step& step) {
  ChooseTarget(shape.target);
  Router router(shape);
  router.Select(0, std::min(shape.tokens, kTokensAtOnce));
  const int at_once = std::min(shape.tokens, kTokensAtOnce);
  int first = 0;
  while (state.KeepRunningBatch(at_once)) {
    step(router, first, at_once);
    benchmark::DoNotOptimize(router.weights.data());
    first = (first + at_once) % shape.tokens;
  }
}

void Register(int64_t target) {
  for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kF32}) {
    for (const int n : {1024, 256, 128}) {
      for (const int tokens : {1, 8, 256}) {
        const Shape shape{target, format, n, tokens};
        const std::string name = std::string(hwy::TargetName(target)) +
                                 (format == WeightFormat::kF32 ? "/f32/" : "/bf16/") +
                                 std::to_string(n) + "/tokens:" + std::to_string(tokens);
        benchmark::RegisterBenchmark(("Route/" + name).c_str(), [shape](benchmark::State& state) {
          Run(state, shape, [](Router& router, int first, int at_once) {
            router.Select(first, at_once);
            router.Combine(at_once);
          });
        });
        if (format != WeightFormat::kBF16 || tokens != 256) continue;
        benchmark::RegisterBenchmark(("Combine/" + name).c_str(), [shape](benchmark::State& state) {
          Run(state, shape, [](Router& router, int, int at_once) { router.Combine(at_once); });
        });
      }
    }
  }
}

}  // namespace
}  // namespace peerage::kernels

int main(int argc, char** argv) {
  const int64_t supported = hwy::SupportedTargets();
  for (const int64_t target : {HWY_AVX3_DL, HWY_AVX3, HWY_AVX2}) {
    if ((supported & target) != 0) peerage::kernels::Register(target);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
