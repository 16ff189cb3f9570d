#include "model/checkpoint/container/safetensors_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/safetensors_builder.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kIndex[] = "model.safetensors.index.json";

class SafetensorsShardsTest : public ::testing::Test {
 protected:
  std::string Error() const {
    return std::string(OpenSafetensorsShards(directory_.path()).status().message());
  }

  // Two shards, b.safetensors with tensor "x" and a.safetensors with "y".
  void WriteShards() const {
    directory_.Write("b.safetensors", SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());
    directory_.Write("a.safetensors", SafetensorsBuilder().Add("y", "F32", {1}, "yyyy").Build());
  }

  const TemporaryDirectory directory_;
};

TEST_F(SafetensorsShardsTest, OpensTheOnlyFileWhateverItsName) {
  directory_.Write("weights.safetensors",
                   SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());

  const auto shards = OpenSafetensorsShards(directory_.path());

  ASSERT_TRUE(shards.ok()) << shards.status();
  ASSERT_EQ(shards->tensors.size(), 1u);
  EXPECT_EQ(shards->tensors[0].name, "x");
  EXPECT_EQ(shards->files.size(), 1u);
}

TEST_F(SafetensorsShardsTest, OpensShardsInTheOrderOfTheirNames) {
  WriteShards();
  directory_.Write("not_named.safetensors", "rubbish");
  directory_.Write(kIndex, R"({"metadata": {"total_size": 8},
                              "weight_map": {"x": "b.safetensors", "y": "a.safetensors"}})");

  const auto shards = OpenSafetensorsShards(directory_.path());

  ASSERT_TRUE(shards.ok()) << shards.status();
  ASSERT_EQ(shards->files.size(), 2u);
  EXPECT_THAT(shards->files[0]->path(), HasSubstr("a.safetensors"));
  ASSERT_EQ(shards->tensors.size(), 2u);
  for (const StoredTensor& tensor : shards->tensors) {
    EXPECT_EQ(tensor.file, tensor.name == "y" ? 0 : 1);
  }
}

TEST_F(SafetensorsShardsTest, AcceptsALinkInsideTheDirectory) {
  WriteShards();
  std::filesystem::create_symlink("b.safetensors", directory_.PathOf("c.safetensors"));
  directory_.Write(kIndex, R"({"weight_map": {"x": "c.safetensors", "y": "a.safetensors"}})");

  EXPECT_EQ(Error(), "");
}

TEST_F(SafetensorsShardsTest, RefusesALinkOutOfTheDirectory) {
  const TemporaryDirectory elsewhere;
  const std::string outside =
      elsewhere.Write("x.safetensors", SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());
  std::filesystem::create_symlink(outside, directory_.PathOf("x.safetensors"));
  directory_.Write(kIndex, R"({"weight_map": {"x": "x.safetensors"}})");

  EXPECT_THAT(Error(), AllOf(HasSubstr(kIndex), HasSubstr("\"x.safetensors\" is a link out")));
}

TEST_F(SafetensorsShardsTest, NeedsWeights) {
  EXPECT_THAT(Error(), HasSubstr("no *.safetensors file"));
}

TEST_F(SafetensorsShardsTest, NeedsAnIndexForSeveralFiles) {
  WriteShards();
  EXPECT_THAT(Error(), HasSubstr("2 *.safetensors files, but no model.safetensors.index.json"));
}

TEST_F(SafetensorsShardsTest, RefusesAnIndexBesideASingleFile) {
  directory_.Write("model.safetensors", SafetensorsBuilder().Build());
  directory_.Write(kIndex, R"({"weight_map": {}})");
  EXPECT_THAT(Error(), HasSubstr("has both"));
}

TEST_F(SafetensorsShardsTest, RefusesABadIndexByName) {
  WriteShards();
  directory_.Write("broken.safetensors", "rubbish");
  const std::pair<const char*, const char*> kIndexes[] = {
      {"", "not valid JSON"},
      {"[]", "is not a JSON object"},
      {"{}", "weight_map is not a JSON object"},
      {R"({"weight_map": []})", "weight_map is not a JSON object"},
      {R"({"weight_map": {}})", "weight_map names 0 files"},
      {R"({"weight_map": {"x": 1}})", "no file name for \"x\""},
      {R"({"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}})", "duplicate key \"x\""},
      {R"({"weight_map": {"x": "../b.safetensors"}})", "\"../b.safetensors\" is not the name"},
      {R"({"weight_map": {"x": "/b.safetensors"}})", "is not the name"},
      {R"({"weight_map": {"x": "sub/b.safetensors"}})", "is not the name"},
      {R"({"weight_map": {"x": ".."}})", "is not the name"},
      {R"({"weight_map": {"x": ""}})", "is not the name"},
      {R"({"weight_map": {"x": ".safetensors"}})", "is not the name"},
      {R"({"weight_map": {"x": "pytorch_model.bin"}})", "is not the name"},
      {R"({"weight_map": {"x": "b\u0000.safetensors"}})", "is not the name"},
      {R"({"weight_map": {"x": "none.safetensors"}})", "\"none.safetensors\""},
      {R"({"weight_map": {"x": "broken.safetensors"}})", "broken.safetensors: shorter"},
      {R"({"weight_map": {"x": "b.safetensors", "z": "b.safetensors"}})",
       "b.safetensors: tensor \"z\" of the index is missing"},
      {R"({"weight_map": {"z": "b.safetensors"}})", "tensor \"x\" is not the index's"},
      {R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})",
       "a.safetensors: tensor \"y\" is not the index's"},
  };
  for (const auto& [index, error] : kIndexes) {
    directory_.Write(kIndex, index);
    EXPECT_THAT(Error(), HasSubstr(error)) << index;
  }
}

}  // namespace
}  // namespace peerage
