#include "model/kernels/expert_counting_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "model/kernels/float16.h"
#include "model/kernels/router_figures.h"
#include "tests/cuda/support/device_array.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

// UsageTotals and the rest, as the CPU has them.
struct Expected {
  UsageTotals totals;
  uint64_t steps = 0;
  std::vector<ExpertCount> counts;
  std::vector<uint64_t> sub_keys;
};

void ExpectRatios(const unsigned long long* got, const RatioCounts& expected, double units) {
  for (size_t i = 0; i < expected.counts.size(); ++i) EXPECT_EQ(got[i], expected.counts[i]) << i;
  EXPECT_NEAR(double(got[expected.counts.size()]), double(expected.sum), units);
}

// A layer's counters on the device and how they ought to be.
class Counters {
 public:
  Counters(int heads, int top_k, uint32_t num_sub_keys, uint32_t sets = 1)
      : heads_(heads),
        top_k_(top_k),
        n_(num_sub_keys),
        experts_of_set_(num_sub_keys * num_sub_keys),
        counts_(size_t{experts_of_set_} * sets),
        last_step_(counts_.size()),
        sub_keys_(size_t{2} * heads * num_sub_keys),
        totals_(1) {
    expected_.counts.resize(counts_.size());
    expected_.sub_keys.resize(sub_keys_.size());
  }

  // `padding` tokens follow those that count.
  void Count(const std::vector<uint32_t>& ids, const std::vector<float>& weights, int padding,
             cudaStream_t stream) {
    const int tokens = ids.size() / (heads_ * top_k_);
    std::vector<uint32_t> all_ids = ids;
    std::vector<float> all_weights = weights;
    all_ids.resize(ids.size() + padding * heads_ * top_k_, 1);  // the position alone must do
    all_weights.resize(all_ids.size(), 1);
    std::vector<int32_t> positions(tokens, 3);
    positions.resize(tokens + padding, -1);
    const DeviceArray<uint32_t> device_ids(all_ids);
    const DeviceArray<float> device_weights(all_weights);
    const DeviceArray<int32_t> device_positions(positions);
    ASSERT_EQ(CountExperts({.ids = device_ids.data(),
                            .weights = device_weights.data(),
                            .positions = device_positions.data(),
                            .count = tokens + padding,
                            .heads = heads_,
                            .top_k = top_k_,
                            .counts = counts_.data(),
                            .last_step = last_step_.data(),
                            .totals = totals_.data(),
                            .sub_keys = n_ == 0 ? nullptr : sub_keys_.data(),
                            .num_sub_keys = n_,
                            .experts_of_set = experts_of_set_},
                           stream),
              cudaSuccess);
    Expect(ids, weights, tokens);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  }

  void ExpectEqual() const {
    const DeviceTotals got = totals_.Read()[0];
    EXPECT_EQ(got.tokens, expected_.totals.tokens);
    EXPECT_EQ(got.steps, expected_.steps);
    EXPECT_EQ(got.step_distinct, expected_.totals.step_distinct);
    EXPECT_EQ(got.squared_scores[0], absl::Uint128Low64(expected_.totals.squared_scores));
    EXPECT_EQ(got.squared_scores[1], absl::Uint128High64(expected_.totals.squared_scores));
    const std::vector<ExpertCount> counts = counts_.Read();
    for (size_t i = 0; i < counts.size(); ++i) {
      ASSERT_EQ(counts[i].selections, expected_.counts[i].selections) << i;
      ASSERT_EQ(counts[i].score, expected_.counts[i].score) << i;
    }
    EXPECT_EQ(sub_keys_.Read(), expected_.sub_keys);
  }

  DeviceTotals* totals() const { return totals_.data(); }

 private:
  void Expect(const std::vector<uint32_t>& ids, const std::vector<float>& weights, int tokens) {
    std::set<uint32_t> different;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == kNoExpert) continue;
      const uint64_t score = ExpertScore(weights[i]);
      different.insert(ids[i]);
      ++expected_.counts[ids[i]].selections;
      expected_.counts[ids[i]].score += score;
      expected_.totals.squared_scores += absl::uint128(score) * score;
      const size_t token = i / (heads_ * top_k_), head = i / top_k_ % heads_;
      if (n_ == 0 || (expected_.totals.tokens + token) % kTokensPerSample != 0) continue;
      const uint32_t expert = ids[i] % experts_of_set_;
      ++expected_.sub_keys[2 * head * n_ + expert / n_];
      ++expected_.sub_keys[(2 * head + 1) * n_ + expert % n_];
    }
    expected_.totals.step_distinct += different.size();
    expected_.totals.tokens += tokens;
    expected_.steps += tokens > 0;
  }

  int heads_, top_k_;
  uint32_t n_, experts_of_set_;
  DeviceArray<ExpertCount> counts_;
  DeviceArray<uint32_t> last_step_;
  DeviceArray<uint64_t> sub_keys_;
  DeviceArray<DeviceTotals> totals_;
  Expected expected_;
};

std::vector<uint32_t> RandomIds(size_t count, uint32_t end, std::mt19937& random) {
  std::vector<uint32_t> ids(count);
  for (uint32_t& id : ids) id = random() % end;
  return ids;
}

using ExpertCountingCudaTest = CudaTest;

TEST_F(ExpertCountingCudaTest, CountWhatEachStepPicked) {
  std::mt19937 random(1);
  for (const int heads : {1, 3}) {
    Counters counters(heads, 5, 9, heads);
    for (const int tokens : {1, 15, 0, 40, 1, 7, 33}) {
      const size_t picks = size_t(tokens) * heads * 5;
      std::vector<uint32_t> ids = RandomIds(picks, 81 * heads, random);
      for (size_t i = 0; i < picks; i += 11) ids[i] = kNoExpert;
      std::vector<float> weights = RandomValues(picks, tokens + 1);
      counters.Count(ids, weights, /*padding=*/tokens % 4, stream_);
    }
    counters.ExpectEqual();
  }
}

TEST_F(ExpertCountingCudaTest, RoundScoresAsTheCpuDoes) {
  std::vector<float> weights = {
      0,        -1,      kNan,           0x1p-24f,       0x1.8p-25f, 0x1p-25f,
      0x1p-26f, 1e-40f,  0x1.8p-24f,     4096,           4097,       1e30f,
      0.1f,     1 / 3.f, 0x1.fffffep-1f, 0x1.000002p-1f, 4095.9998f};
  weights.push_back(std::numeric_limits<float>::infinity());
  weights.push_back(-weights.back());
  std::mt19937 random(2);
  while (weights.size() < 4000) {
    weights.push_back(std::ldexp(1 + random() % 1024 / 1024.f, -int(random() % 32)));
  }
  Counters counters(1, 1, 64);
  std::vector<uint32_t> ids(weights.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i;
  counters.Count(ids, weights, 0, stream_);
  counters.ExpectEqual();
}

TEST_F(ExpertCountingCudaTest, CarrySquaresBeyond64Bits) {
  Counters counters(1, 4, 4);
  std::mt19937 random(3);
  for (int step = 0; step < 3; ++step) {
    std::vector<float> weights(4 * 300);
    for (float& w : weights) w = random() % 3 == 0 ? 4096 : 200 + random() % 1000 / 7.0f;
    counters.Count(RandomIds(weights.size(), 16, random), weights, 2, stream_);
  }
  counters.ExpectEqual();
}

TEST_F(ExpertCountingCudaTest, CountWithoutSubKeys) {
  std::mt19937 random(4);
  const std::vector<uint32_t> ids = RandomIds(64, 8, random);
  const DeviceArray<uint32_t> device_ids(ids);
  const DeviceArray<float> weights(size_t{64}, 0.5f);
  const DeviceArray<int32_t> positions(size_t{32});
  const DeviceArray<ExpertCount> counts(size_t{8});
  const DeviceArray<uint32_t> last_step(size_t{8});
  const DeviceArray<DeviceTotals> totals(size_t{1});
  ASSERT_EQ(CountExperts({.ids = device_ids.data(),
                          .weights = weights.data(),
                          .positions = positions.data(),
                          .count = 32,
                          .heads = 1,
                          .top_k = 2,
                          .counts = counts.data(),
                          .last_step = last_step.data(),
                          .totals = totals.data()},
                         stream_),
            cudaSuccess);
  const std::vector<ExpertCount> got = counts.Read();
  for (uint32_t id = 0; id < 8; ++id) {
    EXPECT_EQ(got[id].selections, uint64_t(std::count(ids.begin(), ids.end(), id)));
  }
}

// A router, some steps of which are observed before they are counted.
struct Router {
  Router(int heads, int n, int half_width, int sets, DeviceFloat type)
      : shape{.heads = heads,
              .top_k = 4,
              .num_sub_keys = n,
              .half_width = half_width,
              .sets = sets,
              .head_offset = sets == 2 ? 0u : uint32_t(n * n)},
        type(type),
        width(sets == 0 ? n : half_width),
        keys(RandomValues(size_t(sets) * n * half_width, 5)) {
    for (float& k : keys) k = F32FromBF16(BF16FromF32(k));
  }

  std::vector<float> Scores(const float* query, int head, int half) const {
    if (shape.sets == 0) return {query, query + shape.num_sub_keys};
    std::vector<float> scores(shape.num_sub_keys);
    const size_t set = (shape.sets > 2 ? head * 2 : 0) + half;
    for (int key = 0; key < shape.num_sub_keys; ++key) {
      const float* row = &keys[(set * shape.num_sub_keys + key) * width];
      for (int i = 0; i < width; ++i) scores[key] = std::fma(row[i], query[i], scores[key]);
    }
    return scores;
  }

  ProductKeyShape shape;
  DeviceFloat type;
  int width;
  std::vector<float> keys;
};

class RouterFiguresCudaTest : public CudaTest {
 protected:
  void ExpectFiguresOf(const Router& router) {
    const ProductKeyShape& shape = router.shape;
    const int heads = shape.heads, top_k = shape.top_k, n = shape.num_sub_keys;
    std::vector<uint16_t> bits;
    for (const float k : router.keys) bits.push_back(BF16FromF32(k));
    const DeviceArray<float> keys32(router.keys);
    const DeviceArray<uint16_t> keys16(bits);
    Counters counters(heads, top_k, n, shape.head_offset == 0 ? 1 : heads);
    RatioCounts kept_mass, entropy;
    uint64_t before = 0;
    std::mt19937 random(6);
    for (const int tokens : {1, 3, 40, 1, 0, 100, 12, 17}) {
      const int padding = tokens % 3, count = tokens + padding;
      std::vector<float> queries =
          RandomValues(size_t(count) * heads * 2 * router.width, 7 + before, 0.5);
      std::vector<uint32_t> ids = RandomIds(size_t(tokens) * heads * top_k, n * n, random);
      for (size_t i = 0; i < ids.size(); ++i) ids[i] += shape.head_offset * (i / top_k % heads);
      for (int t = 0; t < tokens; ++t) {
        if ((before + t) % kTokensPerSample != 0) continue;
        const uint64_t sample = (before + t) / kTokensPerSample;
        const int head = sample % heads;
        const size_t row = size_t(t) * heads + head;
        float* query = &queries[row * 2 * router.width];
        if (sample == 4) query[router.width - 1] = kNan;
        if (sample == 5) query[router.width] = std::numeric_limits<float>::infinity();
        const std::vector<float> scores[2] = {router.Scores(query, head, 0),
                                              router.Scores(query + router.width, head, 1)};
        std::vector<float> scratch(2 * n);
        const RouterFigures figures =
            ProductKeyFigures({.scores = {scores[0], scores[1]},
                               .ids = std::span(ids).subspan(row * top_k, top_k),
                               .first_id = shape.head_offset * head,
                               .scratch = scratch});
        EXPECT_EQ(std::isnan(figures.kept_mass), sample == 4 || sample == 5);
        if (std::isnan(figures.kept_mass)) continue;
        kept_mass.Add(figures.kept_mass);
        entropy.Add(figures.entropy);
      }
      std::vector<uint32_t> all_ids = ids;
      all_ids.resize(size_t(count) * heads * top_k, kNoExpert);
      std::vector<int32_t> positions(tokens);
      positions.resize(count, -1);
      const DeviceArray<float> device_queries(queries);
      const DeviceArray<uint32_t> device_ids(all_ids);
      const DeviceArray<int32_t> device_positions(positions);
      const DeviceArray<float> scratch(ObserveScratchFloats(shape, count), kNan);
      ASSERT_EQ(ObserveRouter({.shape = shape,
                               .queries = device_queries.data(),
                               .sub_keys = router.type == DeviceFloat::kF32
                                               ? static_cast<const void*>(keys32.data())
                                               : keys16.data(),
                               .sub_key_type = router.type,
                               .ids = device_ids.data(),
                               .positions = device_positions.data(),
                               .count = count,
                               .totals = counters.totals(),
                               .scratch = scratch.data()},
                              stream_),
                cudaSuccess);
      counters.Count(ids, std::vector<float>(ids.size(), 0.25f), padding, stream_);
      before += tokens;
    }
    counters.ExpectEqual();
    DeviceTotals got;
    ASSERT_EQ(cudaMemcpy(&got, counters.totals(), sizeof got, cudaMemcpyDeviceToHost), cudaSuccess);
    // Each figure may err by 2e-6.
    const double units = 2e-6 * 12 / ExpertCount::kUnit;
    ExpectRatios(got.kept_mass, kept_mass, units);
    ExpectRatios(got.router_entropy, entropy, units);
  }
};

TEST_F(RouterFiguresCudaTest, AreTheCpusOfTheSameSamples) {
  ExpectFiguresOf(Router(3, 40, 8, 6, DeviceFloat::kBF16));
  ExpectFiguresOf(Router(2, 7, 33, 2, DeviceFloat::kF32));
  ExpectFiguresOf(Router(1, 300, 16, 2, DeviceFloat::kBF16));
  ExpectFiguresOf(Router(2, 50, 0, 0, DeviceFloat::kF32));
}

TEST_F(RouterFiguresCudaTest, OfGatesAreTheCpus) {
  const int experts = 40, stride = 43, top_k = 3;
  const DeviceArray<DeviceTotals> totals(size_t{1});
  RatioCounts kept_mass, entropy;
  std::mt19937 random(8);
  uint64_t before = 0;
  for (const int count : {5, 100, 30}) {
    std::vector<float> gates(size_t(count) * stride, kNan);
    for (int t = 0; t < count; ++t) {
      std::vector<float> row = RandomValues(experts, 9 + before + t, 2);
      float sum = 0;
      for (float& g : row) sum += g = std::exp(g);
      for (int i = 0; i < experts; ++i) gates[t * stride + i] = i % 7 == 0 ? 0 : row[i] / sum;
      if ((before + t) / kTokensPerSample == 3) gates[t * stride + 20] = kNan;
    }
    const std::vector<uint32_t> ids = RandomIds(size_t(count) * top_k, experts, random);
    for (int t = 0; t < count; ++t) {
      if ((before + t) % kTokensPerSample != 0) continue;
      const RouterFigures figures = GateFigures(std::span(gates).subspan(t * stride, experts),
                                                std::span(ids).subspan(t * top_k, top_k));
      if (std::isnan(figures.kept_mass) || std::isnan(figures.entropy)) continue;
      kept_mass.Add(figures.kept_mass);
      entropy.Add(figures.entropy);
    }
    const DeviceArray<float> device_gates(gates);
    const DeviceArray<uint32_t> device_ids(ids);
    const DeviceArray<int32_t> positions(size_t(count), 2);
    ASSERT_EQ(ObserveGates({.gates = device_gates.data(),
                            .stride = size_t(stride),
                            .experts = experts,
                            .ids = device_ids.data(),
                            .top_k = top_k,
                            .positions = positions.data(),
                            .count = count,
                            .totals = totals.data()},
                           stream_),
              cudaSuccess);
    DeviceTotals changed = totals.Read()[0];
    before += count;
    changed.tokens = before;
    ASSERT_EQ(cudaMemcpy(totals.data(), &changed, sizeof changed, cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  const DeviceTotals got = totals.Read()[0];
  ExpectRatios(got.kept_mass, kept_mass, 2e-6 * 9 / ExpertCount::kUnit);
  ExpectRatios(got.router_entropy, entropy, 2e-6 * 9 / ExpertCount::kUnit);
}

// What lies at a bound and beside it, taken in as the CPU does.
TEST_F(RouterFiguresCudaTest, FallIntoTheBucketsOfTheCpu) {
  std::vector<float> ratios = {0, 1};
  for (const double bound : RatioCounts::kBounds) {
    const auto near = static_cast<float>(bound);
    ratios.insert(ratios.end(), {near, std::nextafter(near, 0.0f)});
    if (near < 1) ratios.push_back(std::nextafter(near, 1.0f));
  }
  RatioCounts expected;
  const DeviceArray<DeviceTotals> totals(size_t{1});
  for (const float ratio : ratios) {
    expected.Add(ratio);
    const DeviceArray<float> gates(std::vector<float>{0, ratio});
    const DeviceArray<uint32_t> ids(std::vector<uint32_t>{1});
    const DeviceArray<int32_t> positions(size_t{1});
    ASSERT_EQ(ObserveGates({.gates = gates.data(),
                            .stride = 2,
                            .experts = 2,
                            .ids = ids.data(),
                            .top_k = 1,
                            .positions = positions.data(),
                            .count = 1,
                            .totals = totals.data()},
                           stream_),
              cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }
  ExpectRatios(totals.Read()[0].kept_mass, expected, 0);
}

TEST_F(RouterFiguresCudaTest, AreOfNothingWhereThereIsNothing) {
  EXPECT_EQ(ObserveRouter({.shape = {.heads = 1, .top_k = 1, .num_sub_keys = 4}}, stream_),
            cudaSuccess);
  EXPECT_EQ(ObserveGates({}, stream_), cudaSuccess);
  EXPECT_EQ(CountExperts({.heads = 1, .top_k = 1}, stream_), cudaSuccess);
}

}  // namespace
}  // namespace peerage::kernels::cuda
