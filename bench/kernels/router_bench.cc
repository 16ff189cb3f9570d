// Finding the experts of a token on one thread, without the query projection: sub-key scores and
// selection, then the combination of the halves. 8 heads that share their sub-keys or have their
// own, 16 experts each, half keys of 128. Times are per token.
//   router_bench [--benchmark_filter=...]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "bench/kernels/random_floats.h"
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

struct Shape {
  int64_t target;
  WeightFormat format;
  int n;
  int tokens;
  bool per_head = false;
  int sets() const { return per_head ? 2 * kHeads : 2; }
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
    packed = hwy::AllocateAligned<uint8_t>(bytes * s.sets());
    for (int i = 0; i < s.sets(); ++i) {
      sets[i] = set;
      sets[i].data = packed.get() + i * bytes;
      PackSubKeys(set, rows.data(), packed.get() + i * bytes);
    }
  }

  void Select(int first, int tokens) {
    const int heads_at_once = shape.per_head ? 1 : kHeads;
    const int stride = kHeads / heads_at_once * 2;  // in halves
    for (int i = 0; i < shape.sets(); ++i) {
      SubKeyTopK({.keys = sets[i],
                  .queries = queries.data() + (size_t(first) * kHeads * 2 + i) * kWidth,
                  .stride = size_t(stride) * kWidth,
                  .rows = tokens * heads_at_once,
                  .k = kTopK,
                  .values = values.data() + i * kTopK,
                  .ids = ids.data() + i * kTopK,
                  .out_stride = size_t(stride) * kTopK,
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
  SubKeys sets[2 * kHeads];
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

void Register(const Shape& shape) {
  const std::string name = std::string(hwy::TargetName(shape.target)) +
                           (shape.format == WeightFormat::kF32 ? "/f32" : "/bf16") +
                           (shape.per_head ? "/per_head/" : "/shared/") + std::to_string(shape.n) +
                           "/tokens:" + std::to_string(shape.tokens);
  benchmark::RegisterBenchmark(("Route/" + name).c_str(), [shape](benchmark::State& state) {
    Run(state, shape, [](Router& router, int first, int at_once) {
      router.Select(first, at_once);
      router.Combine(at_once);
    });
  });
  if (shape.per_head || shape.tokens == 1) return;
  benchmark::RegisterBenchmark(("Combine/" + name).c_str(), [shape](benchmark::State& state) {
    Run(state, shape, [](Router& router, int, int at_once) { router.Combine(at_once); });
  });
}

void Register(int64_t target) {
  for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kF32}) {
    for (const bool per_head : {false, true}) {
      for (const int n : {1024, 256, 128}) {
        for (const int tokens : {1, 8, 256}) Register({target, format, n, tokens, per_head});
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
