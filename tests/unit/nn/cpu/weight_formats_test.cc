#include "model/nn/cpu/weight_formats.h"

#include <gtest/gtest.h>

#include <string>

namespace peerage::nn::cpu {
namespace {

using kernels::WeightFormat;

TensorInfo Matrix(const std::string& name, TensorType type, int64_t depth) {
  return {.name = name, .type = type, .shape = {64, depth}};
}

TEST(WeightsDtypeTest, AutoKeepsWhatKernelsRunAndConvertsTheRest) {
  const std::pair<TensorType, WeightFormat> kCases[] = {
      {TensorType::kF32, WeightFormat::kF32},   {TensorType::kBF16, WeightFormat::kBF16},
      {TensorType::kF16, WeightFormat::kF32},   {TensorType::kQ4_0, WeightFormat::kQ4_1},
      {TensorType::kQ4_1, WeightFormat::kQ4_1}, {TensorType::kQ5_0, WeightFormat::kQ8_0},
      {TensorType::kQ5_1, WeightFormat::kQ8_0}, {TensorType::kQ8_0, WeightFormat::kQ8_0},
      {TensorType::kQ6_K, WeightFormat::kQ8_0},
  };
  for (const auto& [type, format] : kCases) {
    EXPECT_EQ(FormatOf(Matrix("w", type, 256), WeightsDtype::kAuto), format) << Traits(type).name;
  }
}

TEST(WeightsDtypeTest, EmbeddingAndHeadNeverGoBelowQ8_0) {
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    const TensorInfo matrix = Matrix(name, TensorType::kF32, 64);
    EXPECT_EQ(FormatOf(matrix, WeightsDtype::kQ4_1), WeightFormat::kQ8_0) << name;
    EXPECT_EQ(FormatOf(matrix, WeightsDtype::kBF16), WeightFormat::kBF16) << name;
  }
}

TEST(WeightsDtypeTest, RowsThatAreNotWholeBlocksStayF32) {
  EXPECT_EQ(FormatOf(Matrix("w", TensorType::kF32, 48), WeightsDtype::kQ8_0), WeightFormat::kF32);
  EXPECT_EQ(FormatOf(Matrix("w", TensorType::kF32, 48), WeightsDtype::kBF16), WeightFormat::kBF16);
}

TEST(WeightsDtypeTest, TablesFollowTheirOwnOptionThenTheWeightsThenTheFile) {
  const auto format = [](TensorType stored, ExpertDtype dtype, WeightsDtype weights) {
    return Name(TableFormat(stored, dtype, weights));
  };
  EXPECT_EQ(format(TensorType::kF32, ExpertDtype::kInt4, WeightsDtype::kBF16), "int4");
  EXPECT_EQ(format(TensorType::kF32, ExpertDtype::kFp8, WeightsDtype::kBF16), "fp8");
  EXPECT_EQ(format(TensorType::kF32, ExpertDtype::kAuto, WeightsDtype::kBF16), "bf16");
  EXPECT_EQ(format(TensorType::kBF16, ExpertDtype::kAuto, WeightsDtype::kF32), "f32");
  EXPECT_EQ(format(TensorType::kBF16, ExpertDtype::kAuto, WeightsDtype::kQ8_0), "bf16");
  EXPECT_EQ(format(TensorType::kF16, ExpertDtype::kAuto, WeightsDtype::kAuto), "f32");
}

}  // namespace
}  // namespace peerage::nn::cpu
