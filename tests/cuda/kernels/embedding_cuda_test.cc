#include "model/kernels/embedding_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/cuda/kernels/device_floats.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kPadding = -1;
constexpr float kUntouched = -7;

class EmbeddingCudaTest : public CudaTest {
 protected:
  // Rows of a table that has `width` columns.
  std::vector<float> Run(DeviceFloat type, const std::vector<float>& table, int width,
                         const std::vector<int32_t>& tokens) {
    const DeviceFloats on_device(type, table);
    const DeviceArray<int32_t> device_tokens(tokens);
    const DeviceArray<float> x(tokens.size() * width, kUntouched);
    EXPECT_EQ(Embed({.table = on_device.data(),
                     .table_type = type,
                     .tokens = device_tokens.data(),
                     .x = x.data(),
                     .count = static_cast<int>(tokens.size()),
                     .width = width},
                    stream_),
              cudaSuccess);
    return x.Read();
  }
};

TEST_F(EmbeddingCudaTest, CopiesRowsAsTheyAreAndPadsWithZeros) {
  constexpr int kVocabulary = 37;
  // The last row of the table, one token twice, padding within and at the end.
  const std::vector<int32_t> tokens = {36, 0, 5, kPadding, 5, 17, kPadding, kPadding};
  for (const DeviceFloat type : kDeviceFloats) {
    for (const int width : {1, 3, 8, 31, 33, 127, 128, 129, 257, 576}) {
      const std::vector<float> table =
          Rounded(type, RandomValues(size_t{kVocabulary} * width, width, 2));
      const std::vector<float> x = Run(type, table, width, tokens);
      ASSERT_EQ(x.size(), tokens.size() * width);
      for (size_t t = 0; t < tokens.size(); ++t) {
        for (int i = 0; i < width; ++i) {
          const float expected = tokens[t] < 0 ? 0 : table[size_t(tokens[t]) * width + i];
          ASSERT_EQ(x[t * width + i], expected)
              << NameOf(type) << " width " << width << " token " << tokens[t] << " at " << i;
        }
      }
    }
  }
}

TEST_F(EmbeddingCudaTest, KeepsWhatIsNoNumberInItsRow) {
  constexpr int kWidth = 33;
  std::vector<float> table(3 * kWidth, 1.0f);
  table[kWidth + 4] = kNan;
  table[kWidth + 5] = -INFINITY;
  for (const DeviceFloat type : kDeviceFloats) {
    // Padding reads nothing: were it to take row 0 times zero, or row 1, it would show.
    const std::vector<float> x = Run(type, table, kWidth, {1, kPadding, 2});
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(x[i]), i == 4) << i;
    EXPECT_EQ(x[5], -INFINITY);
    EXPECT_EQ(x[kWidth + 4], 0);
  }
}

TEST_F(EmbeddingCudaTest, DoesNothingForNoRows) {
  EXPECT_EQ(Embed({.width = 33}, stream_), cudaSuccess);
  for (const DeviceFloat type : kDeviceFloats) {
    EXPECT_TRUE(Run(type, std::vector<float>(33, 1.0f), 33, {}).empty());
  }
}

TEST_F(EmbeddingCudaTest, ReadsWholeSectorsOfTheRowsAlone) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  constexpr int kWidth = 1024;
  standin::ResetCounters();
  Run(DeviceFloat::kBF16, std::vector<float>(size_t{4} * kWidth, 1.0f), kWidth, {0, 3});
  const standin::KernelCounters counters = standin::Counters("EmbedKernel");
  EXPECT_EQ(counters.blocks, 2u);
  // A row is 64 sectors; beside it each warp of a block reads the token.
  EXPECT_EQ(counters.load_sectors, 2u * (kWidth * sizeof(uint16_t) / 32 + 4));
}

}  // namespace
}  // namespace peerage::kernels::cuda
