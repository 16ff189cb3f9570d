#include "model/nn/cpu/weight_placer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/kernels/stored_block.h"
#include "tests/unit/nn/cpu/weight_placer_fixture.h"

namespace peerage::nn::cpu {
namespace {

using kernels::WeightFormat;
using ::testing::ElementsAre;

TEST_F(WeightPlacerTest, RowsOfSlicesLieInTheOrderOfSlices) {
  checkpoint_.Add("a", TensorType::kF32, {33, 31});
  checkpoint_.Add("b", TensorType::kF32, {97, 31});
  const LinearLayer layer = LoadLinear({{{"b", 90, 7}, {"a", 0, 33}, {"b", 0, 1}, {"b", 1, 66}}});

  ASSERT_EQ(layer.parts.size(), 1u);
  ASSERT_EQ(layer.outputs(), 107);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(Row(layer.parts[0], i), Stored("b", 90 + i));
  for (int i = 0; i < 33; ++i) EXPECT_EQ(Row(layer.parts[0], 7 + i), Stored("a", i));
  for (int i = 0; i < 67; ++i) EXPECT_EQ(Row(layer.parts[0], 40 + i), Stored("b", i));
}

TEST_F(WeightPlacerTest, ANewFormatBeginsAPart) {
  checkpoint_.Add("f", TensorType::kF32, {3, 64});
  checkpoint_.Add("b", TensorType::kBF16, {5, 64});
  checkpoint_.Add("g", TensorType::kF16, {7, 64});  // becomes f32
  const LinearLayer layer = LoadLinear({{{"f", 0, 3}, {"g", 0, 7}, {"b", 0, 5}, {"f", 1, 1}}});

  ASSERT_EQ(layer.parts.size(), 3u);
  EXPECT_EQ(layer.parts[0].format, WeightFormat::kF32);
  EXPECT_EQ(layer.parts[0].outputs, 10);
  EXPECT_EQ(layer.parts[1].format, WeightFormat::kBF16);
  EXPECT_EQ(layer.parts[2].outputs, 1);
  EXPECT_EQ(Row(layer.parts[0], 9), Stored("g", 6));
  EXPECT_EQ(Row(layer.parts[1], 4), Stored("b", 4));
  EXPECT_EQ(Row(layer.parts[2], 0), Stored("f", 1));
}

// Each option with each stored type, and how far the result is from what is stored: the rounding
// of the format, as a part of the row's largest magnitude.
TEST_F(WeightPlacerTest, HoldsMatricesAsTheOptionSays) {
  const TensorType kTypes[] = {TensorType::kF32, TensorType::kBF16, TensorType::kF16,
                               TensorType::kQ8_0, TensorType::kQ4_1};
  // By format: half a step, and for quantised ones the scale's rounding to 11 bits.
  const double kError[] = {0, 1.0 / 256, 1.0 / 254 + 1.0 / 2048, 1.0 / 15 + 1.0 / 512};
  for (const TensorType type : kTypes) checkpoint_.Add(Traits(type).name, type, {33, 96});
  const std::pair<WeightsDtype, WeightFormat> kOptions[] = {
      {WeightsDtype::kF32, WeightFormat::kF32},
      {WeightsDtype::kBF16, WeightFormat::kBF16},
      {WeightsDtype::kQ8_0, WeightFormat::kQ8_0},
      {WeightsDtype::kQ4_1, WeightFormat::kQ4_1}};
  for (const TensorType type : kTypes) {
    const std::string name = Traits(type).name;
    EXPECT_EQ(LoadLinear({{{name, 0, 33}}}).parts[0].format, kernels::StoredFormat(type)) << name;
    for (const auto& [option, format] : kOptions) {
      const LinearLayer layer = LoadLinear({{{name, 0, 33}}}, {.weights_dtype = option});
      ASSERT_EQ(layer.parts[0].format, format) << name;
      for (int row = 0; row < 33; ++row) {
        const FloatRow actual = Row(layer.parts[0], row), stored = Stored(name, row);
        float most = 0;
        for (const float value : stored) most = std::max(most, std::fabs(value));
        for (size_t i = 0; i < stored.size(); ++i) {
          ASSERT_NEAR(actual[i], stored[i], most * kError[static_cast<int>(format)]) << name;
        }
      }
    }
  }
}

// More rows than are read at a time, two slices of one tensor, another one between them.
TEST_F(WeightPlacerTest, ColumnsOfSlicesLieSideBySide) {
  checkpoint_.Add("a", TensorType::kF32, {1031, 33});
  checkpoint_.Add("b", TensorType::kBF16, {1031, 7});
  const LinearLayer layer = LoadLinear(
      {{{"a", 20, 13}, {"b", 0, 3}, {"a", 0, 1}, {"b", 6, 1}}, Join::kColumns}, {.threads = 2});

  ASSERT_EQ(layer.parts.size(), 1u);
  ASSERT_EQ(layer.depth(), 18);
  ASSERT_EQ(layer.outputs(), 1031);
  EXPECT_EQ(layer.parts[0].format, WeightFormat::kF32);  // the formats differ
  for (int row = 0; row < 1031; ++row) {
    FloatRow expected = Stored("a", row, 20, 13);
    for (const FloatRow& part :
         {Stored("b", row, 0, 3), Stored("a", row, 0, 1), Stored("b", row, 6, 1)}) {
      expected.insert(expected.end(), part.begin(), part.end());
    }
    ASSERT_EQ(Row(layer.parts[0], row), expected) << row;
  }
}

TEST_F(WeightPlacerTest, QuantisedColumnsAreWholeBlocksOrF32) {
  checkpoint_.Add("q", TensorType::kQ8_0, {3, 96});
  checkpoint_.Add("r", TensorType::kQ8_0, {3, 64});
  const LinearLayer whole = LoadLinear({{{"q", 64, 32}, {"r", 0, 64}}, Join::kColumns});
  EXPECT_EQ(whole.parts[0].format, WeightFormat::kQ8_0);
  for (int row = 0; row < 3; ++row) {
    FloatRow expected = Stored("q", row, 64, 32);
    const FloatRow rest = Stored("r", row);
    expected.insert(expected.end(), rest.begin(), rest.end());
    EXPECT_EQ(Row(whole.parts[0], row), expected);
  }

  checkpoint_.Add("f", TensorType::kF32, {3, 64});
  for (const auto& [first, count] : {std::pair{0, 48}, {16, 32}}) {
    const LinearLayer odd =
        LoadLinear({{{"f", first, count}}, Join::kColumns}, {.weights_dtype = WeightsDtype::kQ8_0});
    EXPECT_EQ(odd.parts[0].format, WeightFormat::kF32);
    EXPECT_EQ(Row(odd.parts[0], 2), Stored("f", 2, first, count));
  }
}

// What a placer says about a model, without memory.
struct Placed {
  std::vector<std::string> conversions;
  WeightFormat dominant;
  uint64_t bytes;
};
template <typename Place>
Placed PlaceOnly(const Checkpoint& checkpoint, const WeightPlacer::Formats& formats,
                 const Place& place) {
  Arena sizes;
  WeightPlacer placer(checkpoint, formats, sizes);
  place(placer);
  return {placer.conversions(), placer.dominant_format(), sizes.used()};
}

TEST_F(WeightPlacerTest, SaysWhatLoadingChanges) {
  checkpoint_.Add("model.embed_tokens.weight", TensorType::kF32, {97, 64});
  for (const char* name : {"a", "b"}) checkpoint_.Add(name, TensorType::kF16, {31, 64});
  checkpoint_.Add("odd", TensorType::kF32, {31, 48});
  checkpoint_.Add("down", TensorType::kF16, {9, 33});
  checkpoint_.AddBytes("q4_0", TensorType::kQ4_0, {1, 32}, std::vector<uint8_t>(18));
  const auto place = [](WeightPlacer& placer) {
    placer.Linear({{{"model.embed_tokens.weight", 0, 97}}});
    // A tensor that is cut counts once, wherever its first row lies.
    placer.Linear({{{"a", 7, 24}, {"b", 0, 31}, {"a", 0, 7}}});
    placer.Linear({{{"b", 0, 32}, {"b", 32, 32}}, Join::kColumns});
    placer.Linear({{{"odd", 0, 31}}});
    placer.Linear({{{"q4_0", 0, 1}}});
    placer.Router({"a"});
    placer.Experts(kernels::ExpertKind::kValue, {"down"});
  };
  EXPECT_THAT(PlaceOnly(checkpoint_, {}, place).conversions,
              ElementsAre("3 f16 matrices to f32", "1 f16 table to f32", "1 q4_0 matrix to q4_1"));
  EXPECT_THAT(PlaceOnly(checkpoint_, {WeightsDtype::kQ4_1, ExpertDtype::kInt8}, place).conversions,
              ElementsAre("1 f32 matrix to q8_0", "3 f16 matrices to q4_1", "1 f16 table to int8",
                          "1 q4_0 matrix to q4_1"));
  EXPECT_EQ(PlaceOnly(checkpoint_, {}, place).dominant, WeightFormat::kF32);
  EXPECT_EQ(PlaceOnly(checkpoint_, {WeightsDtype::kQ8_0, {}}, place).dominant, WeightFormat::kQ8_0);
}

TEST_F(WeightPlacerTest, PlanningTakesTheBytesOfPlacing) {
  checkpoint_.Add("a", TensorType::kF32, {97, 64});
  checkpoint_.Add("keys", TensorType::kBF16, {2, 257, 7});
  checkpoint_.Add("table", TensorType::kBF16, {33, 31});
  const auto place = [](WeightPlacer& placer) {
    placer.Linear({{{"a", 0, 97}}});
    placer.Linear({{{"a", 3, 7}}, Join::kColumns});
    placer.SubKeySets("keys");
    placer.Vector("a");
    placer.Experts(kernels::ExpertKind::kValue, {"table"});
  };
  for (const WeightsDtype dtype :
       {WeightsDtype::kAuto, WeightsDtype::kBF16, WeightsDtype::kQ8_0, WeightsDtype::kQ4_1}) {
    const Placed planned = PlaceOnly(checkpoint_, {dtype, {}}, place);
    uint64_t taken = 0;
    const auto storage = AllocateFor(Pages::kNormal, [&](Arena& arena) {
      WeightPlacer placer(checkpoint_, {dtype, {}}, arena);
      place(placer);
      taken = arena.used();
    });
    ASSERT_TRUE(storage.ok());
    EXPECT_EQ(planned.bytes, taken);
  }
}

}  // namespace
}  // namespace peerage::nn::cpu
