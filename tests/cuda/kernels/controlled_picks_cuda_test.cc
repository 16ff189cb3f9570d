#include "model/kernels/controlled_picks_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "model/kernels/controlled_picks.h"
#include "tests/cuda/support/device_array.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr RouterScore kScores[] = {RouterScore::kSoftmax, RouterScore::kSigmoid, RouterScore::kRelu,
                                   RouterScore::kJointSoftmax};

struct Picks {
  std::vector<uint32_t> ids;
  std::vector<float> weights;

  friend bool operator==(const Picks&, const Picks&) = default;
};

// Tokens of one layer, and what is asked of each.
struct Step {
  Step(const ProductKeyShape& shape, int count, uint32_t seed)
      : shape(shape),
        count(count),
        seed(seed),
        width(shape.sets == 0 ? shape.num_sub_keys : shape.half_width),
        queries(RandomValues(size_t(count) * shape.heads * 2 * width, seed)),
        sub_keys(RandomValues(size_t(shape.sets) * n() * shape.half_width, seed + 1, 0.5)),
        controls(count) {}

  // Few values, whose sums are exact in every order and tie often.
  Step& Coarse() {
    std::mt19937 random(seed);
    for (float& q : queries) q = int(random() % 5) - 2;
    for (float& k : sub_keys) k = int(random() % 3) - 1;
    return *this;
  }

  int n() const { return shape.num_sub_keys; }
  uint32_t experts() const { return n() * n() * (shape.head_offset == 0 ? 1 : shape.heads); }
  size_t picks_of_token() const { return size_t(shape.heads) * shape.top_k; }
  std::string Describe() const {
    return "n " + std::to_string(n()) + ", k " + std::to_string(shape.top_k) + ", sets " +
           std::to_string(shape.sets) + ", offset " + std::to_string(shape.head_offset) +
           ", score " + std::to_string(static_cast<int>(shape.score)) + ", seed " +
           std::to_string(seed);
  }

  // As the CPU has them: chains of fused multiply-adds.
  std::vector<float> Scores(int row, int half) const {
    const float* query = &queries[(size_t(row) * 2 + half) * width];
    if (shape.sets == 0) return {query, query + n()};
    std::vector<float> scores(n());
    const int set = (shape.sets > 2 ? row % shape.heads * 2 : 0) + half;
    for (int key = 0; key < n(); ++key) {
      for (int i = 0; i < width; ++i) {
        scores[key] =
            std::fma(sub_keys[(size_t(set) * n() + key) * width + i], query[i], scores[key]);
      }
    }
    return scores;
  }

  ProductKeyShape shape;
  int count;
  uint32_t seed;
  int width;
  std::vector<float> queries, sub_keys;
  std::vector<LayerControl> controls;  // [count]; of what is forced there is one token
};

bool AsksNothing(const LayerControl& control) {
  return control.masked_ids.empty() && control.biases.empty() && control.top_k == 0 &&
         control.forced.ids.empty();
}

// What RouterControls point to.
class DeviceControls {
 public:
  explicit DeviceControls(const Step& step) : of_token_(step.count, -1) {
    for (int t = 0; t < step.count; ++t) {
      const LayerControl& control = step.controls[t];
      if (AsksNothing(control)) continue;
      if (end_ == 0) first_ = t;
      end_ = t + 1;
      const ForcedPicks& forced = control.forced;
      const RouterControl entry{
          .top_k = static_cast<int32_t>(control.top_k == 0 ? step.shape.top_k : control.top_k),
          .first_masked = Append(control.masked_ids),
          .masked = static_cast<int32_t>(control.masked_ids.size()),
          .first_bias = Append(control.biases),
          .biases = static_cast<int32_t>(control.biases.size()),
          .first_forced = forced.ids.empty() ? -1 : Append(forced.ids),
          .first_weight = forced.weights.empty() ? -1 : Append(forced.weights)};
      of_token_[t] = Append(std::vector<RouterControl>{entry});
    }
    device_of_token_.emplace(of_token_);
    device_words_.emplace(words_);
  }

  RouterControls Get() const {
    return {.of_token = device_of_token_->data(),
            .first = first_,
            .end = end_,
            .words = device_words_->data()};
  }

 private:
  // The first word.
  template <typename T>
  int32_t Append(const std::vector<T>& list) {
    const auto* words = reinterpret_cast<const uint32_t*>(list.data());
    const size_t first = words_.size();
    words_.insert(words_.end(), words, words + list.size() * sizeof(T) / sizeof(uint32_t));
    return static_cast<int32_t>(first);
  }

  int first_ = 0, end_ = 0;
  std::vector<int32_t> of_token_;
  std::vector<uint32_t> words_{0};  // nothing begins with the first
  std::optional<DeviceArray<int32_t>> device_of_token_;
  std::optional<DeviceArray<uint32_t>> device_words_;
};

class ControlledPicksCudaTest : public CudaTest {
 protected:
  // What is picked without control, or with it.
  Picks Run(const Step& step, bool controlled, DeviceFloat type = DeviceFloat::kF32) {
    const ProductKeyShape& shape = step.shape;
    std::vector<uint16_t> bits;
    for (const float k : step.sub_keys) bits.push_back(std::bit_cast<uint32_t>(k) >> 16);
    const DeviceArray<float> queries(step.queries), keys32(step.sub_keys);
    const DeviceArray<uint16_t> keys16(bits);
    std::vector<int32_t> positions(step.count);
    for (int t = 0; t < step.count; ++t) positions[t] = t;
    const DeviceArray<int32_t> place(positions);
    const DeviceArray<uint32_t> ids(step.count * step.picks_of_token(), 77);
    const DeviceArray<float> weights(step.count * step.picks_of_token(), 77);
    const size_t room =
        std::max(SelectScratchBytes(shape, step.count), ControlScratchBytes(shape, step.count));
    const DeviceArray<uint8_t> scratch(room + 16, 0xab);
    const SelectExpertsArgs select{.shape = shape,
                                   .queries = queries.data(),
                                   .sub_keys = type == DeviceFloat::kF32
                                                   ? static_cast<const void*>(keys32.data())
                                                   : keys16.data(),
                                   .sub_key_type = type,
                                   .positions = place.data(),
                                   .ids = ids.data(),
                                   .weights = weights.data(),
                                   .count = step.count,
                                   .scratch = scratch.data()};
    EXPECT_EQ(SelectExperts(select, stream_), cudaSuccess);
    if (controlled) {
      const DeviceControls controls(step);
      EXPECT_EQ(
          ControlPicks({.select = select, .controls = controls.Get(), .scratch = scratch.data()},
                       stream_),
          cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    }
    const std::vector<uint8_t> used = scratch.Read();
    for (size_t i = room; i < used.size(); ++i) EXPECT_EQ(used[i], 0xab) << step.Describe();
    return {ids.Read(), weights.Read()};
  }

  // Where scores are the CPU's to the bit. A weight errs by the exponentials and their sums.
  void ExpectTheCpus(const Step& step) {
    const Picks plain = Run(step, false), got = Run(step, true);
    for (int row = 0; row < step.count * step.shape.heads; ++row) {
      const size_t k = step.shape.top_k, first = row * k;
      Picks expected{{&plain.ids[first], &plain.ids[first] + k},
                     {&plain.weights[first], &plain.weights[first] + k}};
      const bool is_free = AsksNothing(step.controls[row / step.shape.heads]);
      if (!is_free) Control(step, row, expected);
      for (size_t i = 0; i < k; ++i) {
        ASSERT_EQ(got.ids[first + i], expected.ids[i])
            << step.Describe() << ", row " << row << ", pick " << i;
        const float want = expected.weights[i], weight = got.weights[first + i];
        const bool is_near = std::isnan(want) ? std::isnan(weight)
                                              : std::abs(weight - want) <=
                                                    (is_free ? 0 : 2e-5) * std::max(1.0f, want);
        ASSERT_TRUE(is_near || weight == want)
            << weight << " for " << want << ", " << step.Describe() << ", row " << row;
      }
    }
  }

  static void Control(const Step& step, int row, Picks& picks) {
    const std::vector<float> scores[2] = {step.Scores(row, 0), step.Scores(row, 1)};
    const LayerControl& control = step.controls[row / step.shape.heads];
    const int head = row % step.shape.heads, k = step.shape.top_k;
    std::vector<uint32_t> scratch(2 * step.n());
    const ControlledPicksArgs args{.scores = {scores[0], scores[1]},
                                   .score = step.shape.score,
                                   .first_id = step.shape.head_offset * head,
                                   .control = &control,
                                   .k = k,
                                   .scratch = scratch,
                                   .ids = picks.ids.data(),
                                   .weights = picks.weights.data()};
    const ForcedPicks& forced = control.forced;
    if (forced.ids.empty()) return PickUnderControl(args);
    std::copy_n(forced.ids.begin() + head * k, k, picks.ids.begin());
    if (forced.weights.empty()) return WeighForcedPicks(args);
    std::copy_n(forced.weights.begin() + head * k, k, picks.weights.begin());
  }

  // Masks and biases, half of them of what is picked without.
  LayerControl Random(const Step& step, const Picks& plain, int token, int masks, int biases) {
    std::mt19937 random(step.seed + token);
    const auto any = [&](int i) {
      const size_t first = token * step.picks_of_token();
      return i % 2 == 0 ? plain.ids[first + random() % step.picks_of_token()]
                        : random() % step.experts();
    };
    std::set<uint32_t> masked, biased;
    for (int i = 0; i < masks && 2 * masked.size() < step.experts(); ++i) masked.insert(any(i));
    if (step.n() == 1) masked.clear();
    for (int i = 0; i < biases; ++i) biased.insert(any(i));
    LayerControl control{.masked_ids = {masked.begin(), masked.end()}};
    for (const uint32_t id : biased) control.biases.push_back({id, float(random() % 900) / 90 - 5});
    control.top_k = random() % (step.shape.top_k + 1);
    return control;
  }

  // Token 0 is free, what others ask is of every kind.
  void AskEverything(Step& step) {
    const Picks plain = Run(step, false);
    for (int token = 1; token < step.count; ++token) {
      LayerControl& control = step.controls[token];
      if (token % 3 != 0) {
        control = Random(step, plain, token, token % 2 * 30, token / 2 % 2 * 20);
        continue;
      }
      // Another token's picks, with holes.
      const size_t first = (token - 1) * step.picks_of_token(), k = step.shape.top_k;
      control.forced.ids.assign(&plain.ids[first], &plain.ids[first] + step.picks_of_token());
      for (size_t head = 0; head < size_t(step.shape.heads); head += 2) {
        const size_t kept = (token + head) % (k + 1);
        std::fill_n(control.forced.ids.begin() + head * k + kept, k - kept, kNoExpert);
      }
      if (token % 2 == 0) control.forced.weights = RandomValues(step.picks_of_token(), token);
    }
  }
};

std::vector<ProductKeyShape> Shapes(int n, int top_k) {
  const uint32_t experts = n * n;
  return {{.heads = 2, .top_k = top_k, .num_sub_keys = n},
          {.heads = 3, .top_k = top_k, .num_sub_keys = n, .head_offset = experts},
          {.heads = 2, .top_k = top_k, .num_sub_keys = n, .half_width = 5, .sets = 2},
          {.heads = 2,
           .top_k = top_k,
           .num_sub_keys = n,
           .half_width = 16,
           .sets = 4,
           .head_offset = experts}};
}

TEST_F(ControlledPicksCudaTest, PickWhatTheCpuPicks) {
  uint32_t seed = 1;
  for (const int n : {1, 2, 5, 33, 100}) {
    for (const int k : {1, 3, 16, 128}) {
      if (k > n * n) continue;
      for (ProductKeyShape shape : Shapes(n, k)) {
        shape.score = kScores[seed % 4];
        Step step(shape, 7, ++seed);
        if (seed % 3 == 0) step.Coarse();
        AskEverything(step);
        ASSERT_NO_FATAL_FAILURE(ExpectTheCpus(step));
      }
    }
  }
}

TEST_F(ControlledPicksCudaTest, MakeWeightsByEveryScore) {
  for (const RouterScore score : kScores) {
    Step step({.heads = 2, .top_k = 16, .num_sub_keys = 600, .score = score}, 7, 3);
    AskEverything(step);
    ASSERT_NO_FATAL_FAILURE(ExpectTheCpus(step));
  }
}

// The bound of sums falls until enough are left; in the end there are fewer than wanted.
TEST_F(ControlledPicksCudaTest, FindWhatIsLeftWhereTheBestAreMasked) {
  for (const int n : {60, 100}) {
    for (const int left : {4, 100, 2000}) {
      Step step({.heads = 1, .top_k = 16, .num_sub_keys = n}, 1, 5);
      const std::vector<float> scores[2] = {step.Scores(0, 0), step.Scores(0, 1)};
      std::vector<uint32_t> order(n * n);
      for (uint32_t id = 0; id < order.size(); ++id) order[id] = id;
      std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
        return scores[0][a / n] + scores[1][a % n] > scores[0][b / n] + scores[1][b % n];
      });
      order.resize(n * n - left);
      std::sort(order.begin(), order.end());
      step.controls[0].masked_ids = order;
      ASSERT_NO_FATAL_FAILURE(ExpectTheCpus(step));
    }
  }
}

TEST_F(ControlledPicksCudaTest, PutNanAfterEveryNumber) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const RouterScore score : {RouterScore::kSigmoid, RouterScore::kRelu}) {
    Step step({.heads = 1, .top_k = 16, .num_sub_keys = 40, .score = score}, 6, 9);
    std::mt19937 random(5);
    for (size_t i = 0; i < step.queries.size(); ++i) {
      const int token = i / 80;
      float& q = step.queries[i];
      if (token == 1 && random() % 10 == 0) q = kNan;
      if (token == 2 && random() % 10 != 0) q = kNan;
      if (token == 3) q = kNan;
      if (token == 4 && random() % 8 == 0) q = random() % 2 == 0 ? kInfinity : -kInfinity;
      if (token == 5 && random() % 8 != 0) q = -kInfinity;
    }
    const Picks plain = Run(step, false);
    for (int t = 1; t < step.count; ++t) step.controls[t] = Random(step, plain, t, 9, 3);
    ASSERT_NO_FATAL_FAILURE(ExpectTheCpus(step));
  }
}

TEST_F(ControlledPicksCudaTest, ChangeNoBitOfWhatIsNotConcerned) {
  for (const RouterScore score : kScores) {
    for (const DeviceFloat type : {DeviceFloat::kF32, DeviceFloat::kBF16}) {
      Step step({.heads = 2,
                 .top_k = 16,
                 .num_sub_keys = 40,
                 .half_width = 16,
                 .sets = 4,
                 .head_offset = 1600,
                 .score = score},
                3, 4);
      const Picks plain = Run(step, false, type);
      for (int token = 0; token < 3; token += 2) {
        LayerControl& control = step.controls[token];
        control.top_k = 16;
        const auto first = plain.ids.begin() + token * step.picks_of_token();
        const std::set<uint32_t> picked(first, first + step.picks_of_token());
        for (uint32_t id = 0; id < step.experts(); id += 3) {
          if (picked.count(id) == 0) control.masked_ids.push_back(id);
        }
      }
      EXPECT_EQ(Run(step, true, type), plain) << step.Describe();
    }
  }
}

// Scores, too, have the bits that they had, on tensor cores and in chunks.
TEST_F(ControlledPicksCudaTest, WeighForcedPicksAsTheyWereWeighed) {
  for (const RouterScore score : kScores) {
    for (const DeviceFloat type : {DeviceFloat::kF32, DeviceFloat::kBF16}) {
      Step step({.heads = 2,
                 .top_k = 40,
                 .num_sub_keys = 600,
                 .half_width = 48,
                 .sets = 2,
                 .score = score},
                5, 4);
      const Picks plain = Run(step, false, type);
      for (int token = 0; token < step.count; ++token) {
        const auto first = plain.ids.begin() + token * step.picks_of_token();
        step.controls[token].forced = {.tokens = 1, .ids = {first, first + step.picks_of_token()}};
      }
      EXPECT_EQ(Run(step, true, type), plain) << step.Describe();
    }
  }
}

TEST_F(ControlledPicksCudaTest, GoThroughTokensInPasses) {
  Step step({.heads = 1, .top_k = 16, .num_sub_keys = 30001}, 22, 3);
  ASSERT_LT(ControlScratchBytes(step.shape, 22), 22 * ControlScratchBytes(step.shape, 1));
  const Picks plain = Run(step, false);
  for (const int token : {2, 20}) step.controls[token] = Random(step, plain, token, 20, 4);
  ASSERT_NO_FATAL_FAILURE(ExpectTheCpus(step));
}

TEST_F(ControlledPicksCudaTest, LaunchNothingWhereNothingIsAsked) {
  EXPECT_EQ(ControlPicks({}, stream_), cudaSuccess);
}

}  // namespace
}  // namespace peerage::kernels::cuda
