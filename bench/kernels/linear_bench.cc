// Speed of all linear layers of SmolLM2-135M with random weights, beside a loop that only reads
// them: the limit of decoding, here and now.
//   linear_bench [threads=2] [auto|q4_1|q8_0|bf16|f32] [tokens...]
// auto: what the model's Q4_1 file holds (matrices q4_1, the tied head q8_0). Above 64 tokens the
// head is left out: prefill needs the logits of the last token only.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "model/kernels/kernel_target.h"
#include "model/kernels/linear.h"
#include "model/kernels/stored_block.h"
#include "model/kernels/thread_pool.h"

namespace peerage::kernels {
namespace {

constexpr int kLayers = 30;
constexpr int kHidden = 576;
constexpr int kInner = 1536;
constexpr int kQkv = 960;
constexpr int kVocabulary = 49152;
constexpr int kStride = 2 * kInner;  // the widest activation

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <typename T>
using HugeArray = std::unique_ptr<T[], Free>;

// Zeroed, on huge pages where the system gives them.
template <typename T>
HugeArray<T> AllocateHuge(size_t count) {
  constexpr size_t kPage = 2 << 20;
  const size_t bytes = (count * sizeof(T) + kPage - 1) / kPage * kPage;
  void* p = std::aligned_alloc(kPage, bytes);
  madvise(p, bytes, MADV_HUGEPAGE);
  std::memset(p, 0, bytes);
  return HugeArray<T>(static_cast<T*>(p));
}

// The linear layers of a step, in order; the head last.
struct Model {
  std::vector<PackedMatrix> layers;
  HugeArray<uint8_t> memory;
  size_t bytes = 0;
  double weights = 0;
};

// Rows near 1 / sqrt(depth), so that activations stay near 1.
void Fill(const PackedMatrix& m, uint8_t* tiles, ThreadPool& pool) {
  pool.For(m.outputs, 32, [&](int64_t begin, int64_t end, int) {
    std::vector<float> values(m.depth);
    std::vector<uint8_t> row(StoredRowBytes(m.format, m.depth));
    uint32_t state = 1 + begin;
    for (int64_t n = begin; n < end; ++n) {
      for (float& v : values) {
        state = state * 1664525 + 1013904223;
        v = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f * 0.05f;
      }
      QuantizeRow(m.format, values.data(), m.depth, row.data());
      Pack({m, static_cast<int>(n), 1, row.data()}, tiles);
    }
  });
}

Model MakeModel(WeightFormat matrices, WeightFormat head, ThreadPool& pool) {
  Model model;
  for (int l = 0; l < kLayers; ++l) {
    model.layers.push_back({matrices, kQkv, kHidden, nullptr});
    model.layers.push_back({matrices, kHidden, kHidden, nullptr});
    model.layers.push_back({matrices, 2 * kInner, kHidden, nullptr});
    model.layers.push_back({matrices, kHidden, kInner, nullptr});
  }
  model.layers.push_back({head, kVocabulary, kHidden, nullptr});
  for (const PackedMatrix& m : model.layers) model.bytes += m.Bytes();
  model.memory = AllocateHuge<uint8_t>(model.bytes);
  uint8_t* next = model.memory.get();
  for (PackedMatrix& m : model.layers) {
    Fill(m, next, pool);
    m.tiles = next;
    next += m.Bytes();
    model.weights += double(m.outputs) * m.depth;
  }
  return model;
}

// Pieces of a loop over tiles: a few for each thread.
int64_t Grain(const PackedMatrix& m, const ThreadPool& pool) {
  return std::max(1, m.num_tiles() / (4 * pool.threads()));
}

uint64_t ReadAll(const Model& model, ThreadPool& pool) {
  std::vector<uint64_t> sums(pool.threads());
  for (const PackedMatrix& m : model.layers) {
    pool.For(m.num_tiles(), Grain(m, pool), [&](int64_t begin, int64_t end, int thread) {
      const auto* p = reinterpret_cast<const uint64_t*>(m.tiles + begin * m.TileBytes());
      const size_t words = (end - begin) * m.TileBytes() / 8;
      uint64_t sum = 0;
      for (size_t i = 0; i < words; i += 8) {
        __builtin_prefetch(p + i + 1024);
        for (int j = 0; j < 8; ++j) sum ^= p[i + j];
      }
      sums[thread] ^= sum;
    });
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum ^= s;
  return sum;
}

struct Step {
  Model& model;
  ThreadPool& pool;
  int tokens;
  HugeArray<float> x, y, logits;
  HugeArray<uint8_t> panels;

  Step(Model& m, ThreadPool& p, int n)
      : model(m),
        pool(p),
        tokens(n),
        x(AllocateHuge<float>(size_t{kStride} * n)),
        y(AllocateHuge<float>(size_t{kStride} * n)),
        logits(AllocateHuge<float>(has_head() ? size_t{kVocabulary} * n : 1)),
        panels(AllocateHuge<uint8_t>(PanelBytes(WeightFormat::kQ8_0, kInner, n))) {
    for (size_t i = 0; i < size_t{kStride} * n; ++i) {
      x[i] = float(int(i * 2654435761u >> 8 & 1023) - 511) / 300;
    }
  }

  bool has_head() const { return tokens <= 64; }
  int num_layers() const { return 4 * kLayers + (has_head() ? 1 : 0); }

  void RunLayer(int i) {
    const PackedMatrix& w = model.layers[i];
    const bool head = i == 4 * kLayers;
    const float* in = (i % 2 == 0 ? x : y).get();
    float* out = head ? logits.get() : (i % 2 == 0 ? y : x).get();
    if (IsQuantized(w.format)) {
      const QuantizeArgs quantize{in, kStride, tokens, w.depth, panels.get()};
      pool.For(tokens, 4, [&](int64_t begin, int64_t end, int) { Quantize(quantize, begin, end); });
    }
    const LinearArgs args{.weights = w,
                          .x = in,
                          .x_stride = kStride,
                          .panels = panels.get(),
                          .tokens = tokens,
                          .y = out,
                          .y_stride = size_t(head ? kVocabulary : kStride),
                          .next = model.layers[(i + 1) % num_layers()].tiles};
    pool.For(w.num_tiles(), Grain(w, pool),
             [&](int64_t begin, int64_t end, int) { Linear(args, begin, end); });
  }
};

double Median(std::vector<double>& times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void MeasureLoop(ThreadPool& pool) {
  constexpr int kLoops = 200'000;
  std::vector<int64_t> sink(64 * pool.threads());
  const double start = Seconds();
  for (int i = 0; i < kLoops; ++i) {
    pool.For(pool.threads(), 1,
             [&](int64_t begin, int64_t, int thread) { sink[64 * thread] += begin; });
  }
  std::printf("an empty loop takes %.0f ns\n", (Seconds() - start) / kLoops * 1e9);
}

void MeasureBatch(Model& model, ThreadPool& pool, int tokens) {
  Step step(model, pool, tokens);
  std::vector<double> times, reads;
  uint64_t sum = 0;
  const double deadline = Seconds() + 0.8;
  while (times.size() < 5 || Seconds() < deadline) {
    const double read_start = Seconds();
    sum ^= ReadAll(model, pool);
    const double start = Seconds();
    for (int i = 0; i < step.num_layers(); ++i) step.RunLayer(i);
    times.push_back(Seconds() - start);
    reads.push_back(start - read_start);
  }
  const double best = *std::min_element(times.begin(), times.end());
  const double median = Median(times);
  const double read = Median(reads);
  const double head = step.has_head() ? 0 : double(kVocabulary) * kHidden;
  const double head_bytes = step.has_head() ? 0 : model.layers.back().Bytes();
  std::printf(
      "tokens %3d  best %7.2f ms  median %7.2f ms %6.0f tok/s %5.0f GOP/s %5.1f GB/s  "
      "reading alone %.2f ms %.1f GB/s, share %3.0f %%%s\n",
      tokens, best * 1e3, median * 1e3, tokens / median,
      2 * (model.weights - head) * tokens / median / 1e9, (model.bytes - head_bytes) / median / 1e9,
      read * 1e3, model.bytes / read / 1e9, 100 * read / median, sum == 1 ? "!" : "");
}

int Main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::max(1, std::atoi(argv[1])) : 2);
  const std::string format = argc > 2 ? argv[2] : "auto";
  const WeightFormat matrices = format == "f32"    ? WeightFormat::kF32
                                : format == "bf16" ? WeightFormat::kBF16
                                : format == "q8_0" ? WeightFormat::kQ8_0
                                                   : WeightFormat::kQ4_1;
  Model model = MakeModel(matrices, format == "auto" ? WeightFormat::kQ8_0 : matrices, pool);
  std::printf("%s, %d threads, %s, weights %.1f MB\n", KernelTarget(), pool.threads(),
              format.c_str(), model.bytes / 1e6);
  MeasureLoop(pool);
  std::vector<int> batches;
  for (int i = 3; i < argc; ++i) batches.push_back(std::max(1, std::atoi(argv[i])));
  if (batches.empty()) batches = {1, 2, 4, 8, 16, 64, 512};
  for (const int tokens : batches) MeasureBatch(model, pool, tokens);
  return 0;
}

}  // namespace
}  // namespace peerage::kernels

int main(int argc, char** argv) { return peerage::kernels::Main(argc, argv); }
