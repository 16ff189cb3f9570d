#include "server/experts/expert_baseline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "model/experts/expert_numbers.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<ExpertLayer> Layers() {
  return {{.num_experts = 3}, {.kind = ExpertLayerKind::kMixtureFfn, .num_experts = 2}};
}

std::string Write(const std::string& bytes) {
  std::string path =
      ::testing::TempDir() + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string ErrorOf(const std::string& path) {
  return std::string(ReadExpertBaseline(path, Layers()).status().message());
}

TEST(ExpertBaselineTest, DividesTheFileByLayers) {
  const std::string path = Write(ToNpy({1, 2, 3, 4, 5}, {0, 0, 0, 0, 0}));
  const auto baseline = ReadExpertBaseline(path, Layers());
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  EXPECT_THAT(*baseline, ElementsAre(ElementsAre(1, 2, 3), ElementsAre(4, 5)));
}

TEST(ExpertBaselineTest, NamesTheFileAndWhatIsWrong) {
  EXPECT_THAT(ErrorOf("/nonexistent.npy"), HasSubstr("/nonexistent.npy: cannot be read"));
  EXPECT_THAT(ErrorOf(::testing::TempDir()), HasSubstr("cannot be read"));
  EXPECT_THAT(ErrorOf(Write("")), HasSubstr("is no NumPy file"));
  EXPECT_THAT(ErrorOf(Write(ToNpy({1, 2, 3}, {0, 0, 0}))),
              HasSubstr("has 3 experts, and the model has 5 over all its layers"));
  EXPECT_THAT(ErrorOf(Write(ToNpy(std::vector<uint64_t>(9000), std::vector<double>(9000)))),
              HasSubstr("is too large for the usage of the model's 5 experts"));
}

}  // namespace
}  // namespace peerage
