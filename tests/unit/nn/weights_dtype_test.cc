#include "model/nn/weights_dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/memory_checkpoint.h"

namespace peerage::nn {
namespace {

using kernels::WeightFormat;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

TEST(WeightsDtypeTest, NamesWhatLoadingConverts) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 1);  // f32: an embedding, 2 layers of 7 matrices

  EXPECT_THAT(Conversions(checkpoint, WeightsDtype::kAuto), IsEmpty());
  EXPECT_THAT(Conversions(checkpoint, WeightsDtype::kQ4_1),
              ElementsAre("1 f32 matrix to q8_0", "14 f32 matrices to q4_1"));
}

}  // namespace
}  // namespace peerage::nn
