// Experts picked at random from a large table, beside a loop that only reads the same records with
// the same prefetches: the limit of this memory, here and now. d = 1024, 8 heads of 16 picks.
//   experts_bench [--benchmark_filter=bf16]
// Counters: the best and the median time of a token in microseconds, the bytes it gathers per
// second, and the limit's time as a share of the kernel's. One table exists at a time. pack/: what
// loading does.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/random_floats.h"
#include "hwy/aligned_allocator.h"
#include "model/kernels/experts.h"
#include "model/kernels/thread_pool.h"

namespace peerage::kernels {
namespace {

constexpr int kWidth = 1024;
constexpr int kHeads = 8;
constexpr int kTopK = 16;
constexpr int kPicks = kHeads * kTopK;
constexpr int kTokens = 2048;  // their records do not fit a cache
constexpr int kBlock = 256;    // tokens that are timed together

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Unmap {
  size_t bytes = 0;
  void operator()(uint8_t* p) const { munmap(p, bytes); }
};
using HugeBytes = std::unique_ptr<uint8_t, Unmap>;

HugeBytes AllocateHuge(size_t bytes) {
  constexpr size_t kPage = 2 << 20;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) std::abort();
  madvise(p, bytes, MADV_HUGEPAGE);
  return HugeBytes(static_cast<uint8_t*>(p), {bytes});
}

struct Table {
  ExpertTable table;
  HugeBytes memory;
};

// A few experts, again and again.
Table MakeTable(ExpertFormat format, int64_t num_experts) {
  const int64_t distinct = std::min<int64_t>(num_experts, 1024);
  Table t;
  t.table = {format, ExpertKind::kNeuron, kWidth, num_experts, nullptr};
  t.memory = AllocateHuge(t.table.Bytes());
  const std::vector<float> rows = RandomFloats(distinct * kWidth);
  for (int v = 0; v < t.table.vectors(); ++v) {
    PackExperts({t.table, v, 0, distinct, rows.data()}, t.memory.get());
  }
  const size_t bytes = distinct * t.table.RecordBytes();
  for (size_t at = bytes; at < t.table.Bytes(); at += bytes) {
    std::memcpy(t.memory.get() + at, t.memory.get(), bytes);
  }
  t.table.records = t.memory.get();
  return t;
}

// The last table asked for.
const ExpertTable& CachedTable(ExpertFormat format, int64_t num_experts) {
  static Table cached;
  if (cached.memory == nullptr || cached.table.format != format ||
      cached.table.num_experts != num_experts) {
    cached = {};
    cached = MakeTable(format, num_experts);
  }
  return cached.table;
}

// Reads the records of some picks, eight at a time, and fetches half a record ahead.
uint64_t Gather(const ExpertTable& table, const uint32_t* ids, int64_t picks) {
  constexpr int kStreams = 8;
  const size_t bytes = table.RecordBytes(), half = bytes / 128 * 64;
  uint64_t sum[kStreams] = {};
  for (int64_t p = 0; p + kStreams <= picks; p += kStreams) {
    const uint8_t *records[kStreams], *next[kStreams];
    for (int i = 0; i < kStreams; ++i) {
      records[i] = table.records + ids[p + i] * bytes;
      next[i] =
          p + 2 * kStreams <= picks ? table.records + ids[p + kStreams + i] * bytes : records[i];
    }
    for (size_t line = 0; line < bytes; line += 64) {
      const size_t ahead = line + half;
      for (int i = 0; i < kStreams; ++i) {
        sum[i] ^= *reinterpret_cast<const uint64_t*>(records[i] + line);
        __builtin_prefetch(ahead < bytes ? records[i] + ahead : next[i] + ahead - bytes, 0, 2);
      }
    }
  }
  uint64_t total = 0;
  for (const uint64_t s : sum) total ^= s;
  return total;
}

double Median(std::vector<double>& times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void Experts(benchmark::State& state, ExpertFormat format, int log2_experts, int threads) {
  const ExpertTable& table = CachedTable(format, int64_t{1} << log2_experts);
  ThreadPool pool(threads);
  std::mt19937 random(5);
  std::vector<uint32_t> ids(kTokens * kPicks);
  for (uint32_t& id : ids) id = random() % table.num_experts;
  const std::vector<float> weights(ids.size(), 1.0f / kTopK);
  const std::vector<float> x = RandomFloats(kTokens * kWidth);
  std::vector<float> y(x.size());
  const size_t scratch_bytes = (ExpertScratchBytes(table) + 4095) / 4096 * 4096;
  const auto scratch = hwy::AllocateAligned<uint8_t>(scratch_bytes * threads);
  const ExpertArgs args{.table = table,
                        .heads = kHeads,
                        .top_k = kTopK,
                        .x = x.data(),
                        .x_stride = kWidth,
                        .ids = ids.data(),
                        .weights = weights.data(),
                        .y = y.data(),
                        .y_stride = kWidth};
  std::vector<double> times, limits;
  int first = 0;
  for (auto _ : state) {
    const int grain = kBlock / (4 * threads);
    const double start = Seconds();
    pool.For(kBlock, grain, [&](int64_t begin, int64_t end, int) {
      benchmark::DoNotOptimize(
          Gather(table, &ids[(first + begin) * kPicks], (end - begin) * kPicks));
    });
    const double middle = Seconds();
    first = (first + kBlock) % kTokens;  // others, or they would be in a cache
    pool.For(kBlock, grain, [&](int64_t begin, int64_t end, int thread) {
      AddExperts(args, first + begin, first + end, scratch.get() + thread * scratch_bytes);
    });
    limits.push_back((middle - start) / kBlock);
    times.push_back((Seconds() - middle) / kBlock);
    state.SetIterationTime(times.back() * kBlock);
    first = (first + kBlock) % kTokens;
  }
  const double best = *std::min_element(times.begin(), times.end());
  const double best_limit = *std::min_element(limits.begin(), limits.end());
  const double median = Median(times), limit = Median(limits);
  state.counters["best_us"] = best * 1e6;
  state.counters["us"] = median * 1e6;
  state.counters["limit_us"] = limit * 1e6;
  state.counters["GB/s"] = kPicks * table.RecordBytes() / median / 1e9;
  state.counters["share%"] = 100 * limit / median;
  state.counters["best_share%"] = 100 * best_limit / best;
}

// Bytes of f32 rows that a thread packs in a second.
void Pack(benchmark::State& state, ExpertFormat format) {
  constexpr int64_t kCount = 1024;
  const ExpertTable table{format, ExpertKind::kNeuron, kWidth, kCount, nullptr};
  const HugeBytes memory = AllocateHuge(table.Bytes());
  const std::vector<float> rows = RandomFloats(kCount * kWidth);
  for (auto _ : state) PackExperts({table, 0, 0, kCount, rows.data()}, memory.get());
  state.SetBytesProcessed(state.iterations() * rows.size() * sizeof(float));
}

void RegisterAll() {
  // From memory; 2^14 partly and 2^6 wholly from caches: that is the arithmetic.
  constexpr std::pair<const char*, ExpertFormat> kFormats[] = {{"f32", ExpertFormat::kF32},
                                                               {"bf16", ExpertFormat::kBF16},
                                                               {"int8", ExpertFormat::kInt8},
                                                               {"fp8", ExpertFormat::kFp8},
                                                               {"int4", ExpertFormat::kInt4}};
  for (const auto& [format_name, format] : kFormats) {
    benchmark::RegisterBenchmark((std::string("pack/") + format_name).c_str(), Pack, format);
    const int most = format == ExpertFormat::kF32 ? 18 : 20;  // 2 to 4 GiB
    for (const int log2_experts : {6, 14, most}) {
      for (const int threads : {1, 2}) {
        const std::string name = std::string(format_name) + "/2^" + std::to_string(log2_experts) +
                                 "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(), Experts, format, log2_experts, threads)
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace
}  // namespace peerage::kernels

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  peerage::kernels::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
