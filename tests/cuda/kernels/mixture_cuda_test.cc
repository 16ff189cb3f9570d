#include "model/kernels/mixture_cuda.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "model/kernels/mixture_sum.h"
#include "model/kernels/product_keys_cuda.h"
#include "tests/cuda/kernels/device_floats.h"
#include "tests/cuda/kernels/instruction_budget.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;

class MixtureCudaTest : public CudaTest {
 protected:
  struct Choice {
    std::vector<float> gates;  // [count][experts]
    std::vector<uint32_t> ids;
    std::vector<float> weights;
  };

  // Rows of logits lie `kGap` values apart: scores of constant experts come behind them.
  Choice Choose(const std::vector<float>& logits, int experts, int top_k, bool normalize,
                std::vector<int32_t> positions = {}) {
    const int count = static_cast<int>(logits.size()) / experts;
    if (positions.empty()) positions.resize(count);
    const size_t stride = experts + kGap;
    std::vector<float> spread(count * stride, kScore);
    for (int i = 0; i < count * experts; ++i) {
      spread[i / experts * stride + i % experts] = logits[i];
    }
    const DeviceArray<float> gates(spread), weights(size_t(count) * top_k, kNan);
    const DeviceArray<uint32_t> ids(size_t(count) * top_k, 12345);
    const DeviceArray<int32_t> places(positions);
    EXPECT_EQ(ChooseExperts({.logits = gates.data(),
                             .stride = stride,
                             .experts = experts,
                             .top_k = top_k,
                             .normalize = normalize,
                             .positions = places.data(),
                             .ids = ids.data(),
                             .weights = weights.data(),
                             .count = count},
                            stream_),
              cudaSuccess);
    Choice choice = {{}, ids.Read(), weights.Read()};
    const std::vector<float> after = gates.Read();
    for (size_t i = 0; i < after.size(); ++i) {
      if (static_cast<int>(i % stride) < experts) {
        choice.gates.push_back(after[i]);
      } else {
        EXPECT_EQ(after[i], kScore) << "behind the logits, at " << i;
      }
    }
    return choice;
  }

  struct Order {
    std::vector<int32_t> first_row, row_of_pick;
  };
  Order OrderOf(const std::vector<uint32_t>& picks, int ffns) {
    const DeviceArray<uint32_t> ids(picks);
    const DeviceArray<int32_t> first_row(size_t(ffns) + 1, -7), row_of_pick(picks.size(), -7);
    EXPECT_EQ(OrderByExpert({.ids = ids.data(),
                             .picks = static_cast<int>(picks.size()),
                             .ffns = ffns,
                             .first_row = first_row.data(),
                             .row_of_pick = row_of_pick.data()},
                            stream_),
              cudaSuccess);
    return {first_row.Read(), row_of_pick.Read()};
  }

  static constexpr int kGap = 3;
  static constexpr float kScore = 42;
};

std::vector<double> Softmax(const float* logits, int count) {
  const double most = *std::max_element(logits, logits + count);
  std::vector<double> gates;
  for (int i = 0; i < count; ++i) gates.push_back(std::exp(logits[i] - most));
  const double sum = std::accumulate(gates.begin(), gates.end(), 0.0);
  for (double& gate : gates) gate /= sum;
  return gates;
}

TEST_F(MixtureCudaTest, ChoosesTheLargestGates) {
  const int count = 5;
  for (const auto& [experts, top_k] :
       {std::pair{1, 1}, {4, 1}, {4, 4}, {8, 2}, {31, 3}, {33, 33}, {64, 8}, {257, 40}}) {
    for (const bool normalize : {false, true}) {
      SCOPED_TRACE(testing::Message() << top_k << " of " << experts << ", " << normalize);
      const std::vector<float> logits = RandomValues(size_t(count) * experts, experts, 2);
      const Choice choice = Choose(logits, experts, top_k, normalize);
      for (int token = 0; token < count; ++token) {
        const std::vector<double> expected = Softmax(&logits[token * experts], experts);
        const float* gates = &choice.gates[token * experts];
        for (int e = 0; e < experts; ++e) {
          EXPECT_NEAR(gates[e], expected[e], 0x1p-20 * expected[e]);
        }
        // The choice is exact among the gates that were computed.
        std::vector<uint32_t> best(experts);
        std::iota(best.begin(), best.end(), 0);
        std::stable_sort(best.begin(), best.end(),
                         [&](uint32_t a, uint32_t b) { return gates[a] > gates[b]; });
        float sum = 0;
        for (int k = 0; k < top_k; ++k) sum += gates[best[k]];
        for (int k = 0; k < top_k; ++k) {
          const size_t pick = size_t(token) * top_k + k;
          EXPECT_EQ(choice.ids[pick], best[k]);
          EXPECT_EQ(choice.weights[pick], gates[best[k]] / (normalize ? sum : 1));
        }
      }
    }
  }
}

TEST_F(MixtureCudaTest, TakesLowerIdsAmongEquals) {
  std::vector<float> logits(40, 1.0f);
  logits[35] = logits[7] = 2;
  const Choice choice = Choose(logits, 40, 5, /*normalize=*/false);
  EXPECT_THAT(choice.ids, ElementsAre(7, 35, 0, 1, 2));
}

TEST_F(MixtureCudaTest, TakesLowerIdsAmongGatesThatVanish) {
  const Choice choice = Choose({-1000, 0, -INFINITY, -2000}, 4, 4, /*normalize=*/true);
  EXPECT_THAT(choice.ids, ElementsAre(1, 0, 2, 3));
  EXPECT_THAT(choice.weights, ElementsAre(1, 0, 0, 0));
}

TEST_F(MixtureCudaTest, GatesDoNotDependOnWhereLogitsLie) {
  for (const float far : {-200.0f, -1e30f, -90.0f, 90.0f, 1e20f}) {
    SCOPED_TRACE(far);
    const Choice alike = Choose({far, far, far, far}, 4, 2, /*normalize=*/false);
    EXPECT_THAT(alike.ids, ElementsAre(0, 1));
    EXPECT_THAT(alike.weights, Each(0.25f));
  }
  // Differences that are whole at 200 below zero are the same there.
  const Choice near = Choose({0, 2, 1, -1}, 4, 3, /*normalize=*/false);
  const Choice below = Choose({-200, -198, -199, -201}, 4, 3, /*normalize=*/false);
  EXPECT_THAT(below.ids, ElementsAreArray(near.ids));
  EXPECT_THAT(below.weights, ElementsAreArray(near.weights));
}

TEST_F(MixtureCudaTest, SpreadsANanOverItsTokenOnly) {
  for (const int experts : {4, 40}) {
    for (const bool normalize : {false, true}) {
      std::vector<float> logits = RandomValues(size_t{3} * experts, 3);
      logits[2 * experts - 1] = kNan;
      const Choice choice = Choose(logits, experts, 2, normalize);
      for (size_t i = 0; i < choice.gates.size(); ++i) {
        EXPECT_EQ(std::isnan(choice.gates[i]), static_cast<int>(i) / experts == 1);
      }
      EXPECT_THAT(choice.ids, Each(testing::Lt(experts)));
      EXPECT_EQ(choice.ids[2], 0);
      EXPECT_EQ(choice.ids[3], 1);
      for (int i = 0; i < 6; ++i) EXPECT_EQ(std::isnan(choice.weights[i]), i / 2 == 1) << i;
    }
  }
}

TEST_F(MixtureCudaTest, GivesPaddingNoExpert) {
  const std::vector<float> logits = RandomValues(3 * 8, 3);
  const Choice all = Choose(logits, 8, 2, /*normalize=*/true);
  const Choice padded = Choose(logits, 8, 2, /*normalize=*/true, {4, -1, 0});
  EXPECT_THAT(padded.ids,
              ElementsAre(all.ids[0], all.ids[1], kNoExpert, kNoExpert, all.ids[4], all.ids[5]));
  EXPECT_THAT(padded.weights,
              ElementsAre(all.weights[0], all.weights[1], 0, 0, all.weights[4], all.weights[5]));
}

TEST_F(MixtureCudaTest, StaysWithinItsInstructions) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  standin::ResetCounters();
  const Choice choice = Choose(RandomValues(64 * 64, 3), 64, 8, /*normalize=*/true);
  OrderOf(choice.ids, 64);
  ExpectInstructions("ChooseExpertsKernel", 62'912);
  ExpectInstructions("OrderByExpertKernel", 121'706);
}

TEST_F(MixtureCudaTest, SpreadsGatesOverHeads) {
  const DeviceArray<uint32_t> ids({2, 0, 1, 2, kNoExpert, kNoExpert});
  const DeviceArray<float> weights({0.7f, 0.3f, 0.6f, 0.4f, 0, 0});
  const DeviceArray<int32_t> expert_of_head({0, 0, 1, 2, 2});
  const DeviceArray<float> gates(15, kNan);
  ASSERT_EQ(SpreadGates({.ids = ids.data(),
                         .weights = weights.data(),
                         .top_k = 2,
                         .expert_of_head = expert_of_head.data(),
                         .heads = 5,
                         .head_gates = gates.data(),
                         .count = 3},
                        stream_),
            cudaSuccess);
  EXPECT_THAT(gates.Read(), ElementsAre(0.3f, 0.3f, 0, 0.7f, 0.7f,  //
                                        0, 0, 0.6f, 0.4f, 0.4f,     //
                                        0, 0, 0, 0, 0));
}

TEST_F(MixtureCudaTest, KeepsRowsOfLogits) {
  const DeviceArray<float> from({1, 2, 3, 4, 5, 6}), to(8, -7);
  ASSERT_EQ(KeepRows({.from = from.data(),
                      .from_stride = 3,
                      .to = to.data(),
                      .to_stride = 4,
                      .width = 2,
                      .count = 2},
                     stream_),
            cudaSuccess);
  EXPECT_THAT(to.Read(), ElementsAre(1, 2, -7, -7, 4, 5, -7, -7));
}

TEST_F(MixtureCudaTest, OrdersPicksByExpertThenByPick) {
  for (const int ffns : {0, 1, 3, 8, 65}) {
    for (const int picks : {0, 1, 2, 33, 255, 257, 1000}) {
      SCOPED_TRACE(testing::Message() << picks << " picks of " << ffns);
      std::mt19937 random(picks * 100 + ffns);
      std::vector<uint32_t> ids(picks);
      for (uint32_t& id : ids) {
        const uint32_t any = random() % (ffns + 4);  // ids behind the FFNs are there too
        id = any == ffns + 3u ? kNoExpert : any;
      }
      const Order order = OrderOf(ids, ffns);
      std::vector<int32_t> first_row(ffns + 1), row_of_pick(picks, -1);
      int32_t row = 0;
      for (int e = 0; e < ffns; ++e) {
        first_row[e] = row;
        for (int p = 0; p < picks; ++p) {
          if (ids[p] == static_cast<uint32_t>(e)) row_of_pick[p] = row++;
        }
      }
      first_row[ffns] = row;
      EXPECT_THAT(order.first_row, ElementsAreArray(first_row));
      EXPECT_THAT(order.row_of_pick, ElementsAreArray(row_of_pick));
    }
  }
}

TEST_F(MixtureCudaTest, GathersTheRowsOfPicks) {
  const int count = 3, top_k = 2;
  const std::vector<int32_t> rows = {1, -1, 3, 0, -1, 2};
  for (const int width : {1, 33, 97, 128, 2056}) {
    for (const DeviceFloat type : kDeviceFloats) {
      for (const int unaligned : {0, 1}) {
        const std::vector<float> values = Rounded(type, RandomValues(size_t(count) * width, width));
        const DeviceFloats u(type, values, unaligned);
        const DeviceFloats gathered(type, size_t(count) * top_k * width, -7);
        const DeviceArray<int32_t> row_of_pick(rows);
        ASSERT_EQ(GatherRows({.u = u.data(),
                              .type = type,
                              .row_of_pick = row_of_pick.data(),
                              .top_k = top_k,
                              .gathered = gathered.data(),
                              .count = count,
                              .width = width},
                             stream_),
                  cudaSuccess);
        std::vector<float> expected(size_t(count) * top_k * width, -7);
        for (size_t p = 0; p < rows.size(); ++p) {
          if (rows[p] < 0) continue;
          std::copy_n(&values[p / top_k * width], width, &expected[rows[p] * width]);
        }
        EXPECT_EQ(gathered.Read(), expected) << width << " " << NameOf(type);
      }
    }
  }
}

// Two FFNs, then a zero, a copy and two constant experts: ids 0 to 5. Three tokens pick three each;
// the second is padding.
class AddMixtureCudaTest : public CudaTest {
 protected:
  static constexpr int kCount = 3, kTopK = 3, kFirstCopy = 3, kFirstConstant = 4;

  struct Values {
    Values(DeviceFloat type, int width)
        : type(type),
          width(width),
          outputs(RandomValues(size_t{kCount} * kTopK * width, width)),
          u(Rounded(type, RandomValues(size_t{kCount} * width, width + 1))),
          vectors(RandomValues(size_t{2} * width, width + 2)),
          residual(RandomValues(size_t{kCount} * width, width + 3)) {}

    DeviceFloat type;
    int width;
    std::vector<float> outputs, u, vectors, residual;
  };

  struct Results {
    std::vector<float> sums, normed;
  };
  // Adds, or hands what is added to a norm, which writes where u is.
  Results Run(const Values& v, bool at_once) {
    const DeviceArray<uint32_t> ids(ids_);
    const DeviceArray<int32_t> row_of_pick(row_of_pick_);
    const DeviceArray<float> weights(weights_), outputs(v.outputs), scores(scores_);
    const DeviceArray<float> vectors(v.vectors), residual(v.residual);
    const DeviceFloats u(v.type, v.u);
    const DeviceArray<const float*> starts({vectors.data(), vectors.data() + v.width});
    const MixtureParts parts = {.ids = ids.data(),
                                .weights = weights.data(),
                                .top_k = kTopK,
                                .row_of_pick = row_of_pick.data(),
                                .outputs = outputs.data(),
                                .u = u.data(),
                                .u_type = v.type,
                                .first_copy = kFirstCopy,
                                .first_constant = kFirstConstant,
                                .vectors = starts.data(),
                                .scores = scores.data() + 1,
                                .scores_stride = 5};
    const NormArgs norm = {.x = residual.data(),
                           .x_stride = size_t(v.width),
                           .weight = vectors.data(),
                           .y = u.data(),
                           .y_type = v.type,
                           .y_stride = size_t(v.width),
                           .sums = residual.data(),
                           .count = kCount,
                           .width = v.width};
    if (at_once) {
      EXPECT_EQ(NormOfSum(norm, parts, stream_), cudaSuccess);
    } else {
      EXPECT_EQ(AddRows({.x = residual.data(), .count = kCount, .width = v.width}, parts, stream_),
                cudaSuccess);
      EXPECT_EQ(Norm(norm, stream_), cudaSuccess);
    }
    return {residual.Read(), u.Read()};
  }
  std::vector<float> Run(const Values& v) { return Run(v, /*at_once=*/false).sums; }

  // A sum of three in f32 beside one in double.
  std::vector<double> Expected(const Values& v) const {
    std::vector<double> y(v.residual.begin(), v.residual.end());
    for (int pick = 0; pick < kCount * kTopK; ++pick) {
      const uint32_t id = ids_[pick];
      if (id == kNoExpert || id == 2) continue;
      const int token = pick / kTopK, width = v.width;
      const float* u = &v.u[token * width];
      double* sum = &y[token * width];
      if (id >= kFirstConstant) {
        AddConstantExpertReference({.scores = &scores_[5 * token + 1 + 2 * (id - kFirstConstant)],
                                    .u = u,
                                    .v = &v.vectors[(id - kFirstConstant) * width],
                                    .width = width,
                                    .gate = weights_[pick]},
                                   sum);
        continue;
      }
      const float* x = id == kFirstCopy ? u : &v.outputs[row_of_pick_[pick] * width];
      for (int i = 0; i < width; ++i) sum[i] += double{weights_[pick]} * x[i];
    }
    return y;
  }

  std::vector<uint32_t> ids_ = {1, 4, 3, kNoExpert, kNoExpert, kNoExpert, 5, 0, 2};
  std::vector<int32_t> row_of_pick_ = {1, -1, -1, -1, -1, -1, -1, 0, -1};
  std::vector<float> weights_ = {0.5f, 0.3f, 0.2f, 0, 0, 0, 0.6f, 0.3f, 0.1f};
  // [count][scores_stride] from the second on: of u and of v, for both constants.
  std::vector<float> scores_ = {9, 0.5f, -1, 7, 7, 9, 8, 8, 8, 8, 9, 6, 6, 100, -3, 9};
};

TEST_F(AddMixtureCudaTest, AddsEveryKindOfExpert) {
  for (const int width : {1, 3, 31, 33, 97, 128, 257, 576, 1032}) {
    for (const DeviceFloat type : kDeviceFloats) {
      const Values values(type, width);
      const std::vector<float> y = Run(values);
      const std::vector<double> expected = Expected(values);
      for (size_t i = 0; i < y.size(); ++i) {
        EXPECT_NEAR(y[i], expected[i], 0x1p-20 * 4) << width << " " << NameOf(type) << ", " << i;
      }
      for (int i = width; i < 2 * width; ++i) EXPECT_EQ(y[i], values.residual[i]) << "padding";
    }
  }
}

// With one expert of gate 1 the residual gains what a dense layer adds, to the bit.
TEST_F(AddMixtureCudaTest, AddsASingleExpertAsADenseLayerDoes) {
  ids_ = {0, 2, 2, kNoExpert, kNoExpert, kNoExpert, 0, 2, 2};
  row_of_pick_ = {0, -1, -1, -1, -1, -1, 1, -1, -1};
  weights_ = {1, 0, 0, 0, 0, 0, 1, 0, 0};
  const Values values(DeviceFloat::kF32, 33);
  const std::vector<float> y = Run(values);
  for (int i = 0; i < 33; ++i) {
    EXPECT_EQ(y[i], values.residual[i] + values.outputs[i]);
    EXPECT_EQ(y[66 + i], values.residual[66 + i] + values.outputs[33 + i]);
  }
}

TEST_F(AddMixtureCudaTest, NormsOfSumsHaveTheBitsOfAddingFirst) {
  for (const int width : {1, 33, 97, 256, 257, 576, 2056, 4104}) {
    for (const DeviceFloat type : kDeviceFloats) {
      const Values values(type, width);
      const Results expected = Run(values, /*at_once=*/false);
      const Results actual = Run(values, /*at_once=*/true);
      EXPECT_EQ(actual.sums, expected.sums) << width << " " << NameOf(type);
      EXPECT_EQ(actual.normed, expected.normed) << width << " " << NameOf(type);
    }
  }
}

TEST_F(AddMixtureCudaTest, StaysWithinItsInstructions) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  standin::ResetCounters();
  Run(Values(DeviceFloat::kBF16, 1024));
  ExpectInstructions("AddRowsKernel", 3'000);
}

TEST_F(AddMixtureCudaTest, KeepsANanWithItsToken) {
  for (const int width : {33, 128}) {
    Values values(DeviceFloat::kBF16, width);
    weights_[0] = kNan;
    const std::vector<float> y = Run(values);
    for (int i = 0; i < 3 * width; ++i) EXPECT_EQ(std::isnan(y[i]), i < width) << i;
  }
}

}  // namespace
}  // namespace peerage::kernels::cuda
