// What decides which experts are met, and the experts themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/random_values.h"
#include "tests/unit/nn/cpu/weight_placer_fixture.h"

namespace peerage::nn::cpu {
namespace {

using kernels::WeightFormat;

class RouterPlacerTest : public WeightPlacerTest {};

TEST_F(RouterPlacerTest, RoutersKeepTheirPrecision) {
  checkpoint_.Add("bf16", TensorType::kBF16, {3, 2, 5, 64});
  checkpoint_.Add("f16", TensorType::kF16, {31, 64});
  for (const WeightsDtype dtype : {WeightsDtype::kAuto, WeightsDtype::kQ4_1}) {
    const auto [direct, plain] = Load(
        [](WeightPlacer& placer) {
          return std::pair(placer.Router({"bf16"}), placer.Router({"f16"}));
        },
        {.weights_dtype = dtype});
    EXPECT_EQ(direct.parts[0].format, WeightFormat::kBF16);
    EXPECT_EQ(direct.outputs(), 30);
    for (int i = 0; i < 30; ++i) EXPECT_EQ(Row(direct.parts[0], i), Stored("bf16", i));
    EXPECT_EQ(plain.parts[0].format, WeightFormat::kF32);
    EXPECT_EQ(Row(plain.parts[0], 30), Stored("f16", 30));
  }
}

PlannedTensor VectorOf(const std::string& name) { return {name, {31}, TensorRole::kRouter}; }

// y = (W x + b - mean) / sqrt(var + eps) * weight + bias, for one x in double.
TEST_F(RouterPlacerTest, ABatchNormIsFoldedIntoMatrixAndBias) {
  checkpoint_.Add("w", TensorType::kBF16, {31, 33});
  for (const char* name : {"b", "weight", "bias", "mean", "var"}) {
    checkpoint_.Add(name, TensorType::kF32, {31});
  }
  for (int i = 0; i < 31; ++i) checkpoint_.Set("var", i, 0.01f + i % 7);
  const QueryNormPlan norm{.epsilon = 0.125f,
                           .weight = VectorOf("weight"),
                           .bias = VectorOf("bias"),
                           .running = {{VectorOf("mean"), VectorOf("var")}}};
  const FloatRow x = RandomValues(33, 3);
  for (const std::string bias : {"", "b"}) {
    const FoldedQuery folded =
        Load([&](WeightPlacer& placer) { return placer.FoldedRouter("w", bias, norm); });
    ASSERT_EQ(folded.matrix.parts[0].format, WeightFormat::kF32);
    for (int o = 0; o < 31; ++o) {
      const FloatRow stored = Stored("w", o), row = Row(folded.matrix.parts[0], o);
      const auto value = [&](const char* name) { return double{checkpoint_.values(name)[o]}; };
      const double product = std::inner_product(x.begin(), x.end(), stored.begin(), 0.0);
      const double expected = (product + (bias.empty() ? 0 : value("b")) - value("mean")) /
                                  std::sqrt(value("var") + 0.125) * value("weight") +
                              value("bias");
      const double actual =
          std::inner_product(x.begin(), x.end(), row.begin(), 0.0) + folded.bias[o];
      // Each weight is rounded twice, and so is the bias.
      EXPECT_NEAR(actual, expected, 1e-5) << o;
    }
  }
}

// The sub-keys as kernels see them: a query of one 1 and zeros has the values of a column as
// scores.
std::vector<FloatRow> SubKeyRows(const kernels::SubKeys& keys) {
  std::vector<FloatRow> rows(keys.n, FloatRow(keys.width));
  for (int column = 0; column < keys.width; ++column) {
    FloatRow query(keys.width), values(keys.n);
    query[column] = 1;
    std::vector<int32_t> ids(keys.n);
    kernels::SubKeyTopKReference({.keys = keys,
                                  .queries = query.data(),
                                  .stride = query.size(),
                                  .rows = 1,
                                  .k = keys.n,
                                  .values = values.data(),
                                  .ids = ids.data(),
                                  .out_stride = values.size()});
    for (int i = 0; i < keys.n; ++i) rows[ids[i]][column] = values[i];
  }
  return rows;
}

TEST_F(RouterPlacerTest, SubKeysLieSetBySet) {
  checkpoint_.Add("per_head", TensorType::kBF16, {3, 2, 31, 7});
  checkpoint_.Add("shared", TensorType::kF16, {2, 1, 9});
  const auto [per_head, shared] = Load([](WeightPlacer& placer) {
    return std::pair(placer.SubKeySets("per_head"), placer.SubKeySets("shared"));
  });
  ASSERT_EQ(per_head.size(), 6u);
  for (int set = 0; set < 6; ++set) {
    EXPECT_EQ(per_head[set].format, WeightFormat::kBF16);
    const std::vector<FloatRow> rows = SubKeyRows(per_head[set]);
    for (int i = 0; i < 31; ++i) EXPECT_EQ(rows[i], Stored("per_head", set * 31 + i)) << set;
  }
  ASSERT_EQ(shared.size(), 2u);
  EXPECT_EQ(shared[1].format, WeightFormat::kF32);
  EXPECT_EQ(SubKeyRows(shared[1])[0], Stored("shared", 1));
}

TEST_F(RouterPlacerTest, TablesHoldTheVectorsOfEachExpertInTheirOrder) {
  for (const char* name : {"gate", "down", "up"}) {
    checkpoint_.Add(name, TensorType::kF32, {1023, 33});
  }
  const std::vector<std::string> names = {"gate", "down", "up"};
  const std::pair<ExpertDtype, double> kErrors[] = {{ExpertDtype::kAuto, 0},
                                                    {ExpertDtype::kBF16, 1.0 / 256},
                                                    {ExpertDtype::kInt8, 1.01 / 254},
                                                    {ExpertDtype::kInt4, 1.0 / 8},
                                                    {ExpertDtype::kFp8, 1.0 / 16}};
  for (const auto& [dtype, error] : kErrors) {
    const kernels::ExpertTable table = Load(
        [&](WeightPlacer& placer) {
          return placer.Experts(kernels::ExpertKind::kGatedNeuron, names);
        },
        {.expert_dtype = dtype, .threads = 2});
    ASSERT_EQ(table.num_experts, 1023);
    for (size_t vector = 0; vector < names.size(); ++vector) {
      const FloatRow all = checkpoint_.values(names[vector]);
      for (const int64_t expert : {0, 1, 511, 1022}) {
        FloatRow actual(33);
        kernels::UnpackExpert(table, expert, static_cast<int>(vector), actual.data());
        const auto stored = all.begin() + expert * 33;
        float most = 0;
        for (int i = 0; i < 33; ++i) most = std::max(most, std::fabs(stored[i]));
        for (int i = 0; i < 33; ++i) {
          ASSERT_NEAR(actual[i], stored[i], most * error) << names[vector] << " " << expert;
        }
      }
    }
  }
}

TEST_F(RouterPlacerTest, ATableIsAsWideAsItsWidestVector) {
  checkpoint_.Add("bf16", TensorType::kBF16, {9, 31});
  checkpoint_.Add("f32", TensorType::kF32, {9, 31});
  const auto format = [&](const std::vector<std::string>& vectors) {
    return Load([&](WeightPlacer& placer) {
             return placer.Experts(kernels::ExpertKind::kNeuron, vectors);
           })
        .format;
  };
  EXPECT_EQ(format({"bf16", "bf16"}), kernels::ExpertFormat::kBF16);
  EXPECT_EQ(format({"bf16", "f32"}), kernels::ExpertFormat::kF32);
  EXPECT_EQ(format({"f32", "bf16"}), kernels::ExpertFormat::kF32);
}

TEST_F(RouterPlacerTest, VectorsBecomeF32) {
  checkpoint_.Add("norm", TensorType::kF16, {257});
  checkpoint_.Add("bias", TensorType::kBF16, {3, 2, 5});
  const auto [norm, bias] = Load([](WeightPlacer& placer) {
    return std::pair(placer.Vector("norm"), placer.RouterVector("bias"));
  });
  EXPECT_EQ(FloatRow(norm, norm + 257), checkpoint_.values("norm"));
  EXPECT_EQ(FloatRow(bias, bias + 30), checkpoint_.values("bias"));
}

}  // namespace
}  // namespace peerage::nn::cpu
