#include "model/checkpoint/container/weight_shards.h"

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

class WeightShardsTest : public ::testing::Test {
 protected:
  std::string Error() const {
    return std::string(OpenWeightShards(directory_.path()).status().message());
  }

  // Two shards, b.safetensors with tensor "x" and a.safetensors with "y".
  void WriteShards() const {
    directory_.Write("b.safetensors", SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());
    directory_.Write("a.safetensors", SafetensorsBuilder().Add("y", "F32", {1}, "yyyy").Build());
  }

  const TemporaryDirectory directory_;
};

TEST_F(WeightShardsTest, OpensTheOnlyFileWhateverItsName) {
  directory_.Write("weights.safetensors",
                   SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());

  const auto shards = OpenWeightShards(directory_.path());

  ASSERT_TRUE(shards.ok()) << shards.status();
  ASSERT_EQ(shards->tensors.size(), 1u);
  EXPECT_EQ(shards->tensors[0].name, "x");
  EXPECT_EQ(shards->files.size(), 1u);
}

TEST_F(WeightShardsTest, OpensShardsInTheOrderOfTheirNames) {
  WriteShards();
  directory_.Write("not_named.safetensors", "rubbish");
  directory_.Write(kIndex, R"({"metadata": {"total_size": 8},
                              "weight_map": {"x": "b.safetensors", "y": "a.safetensors"}})");

  const auto shards = OpenWeightShards(directory_.path());

  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(shards->format, "safetensors");
  ASSERT_EQ(shards->files.size(), 2u);
  EXPECT_THAT(shards->files[0]->path(), HasSubstr("a.safetensors"));
  ASSERT_EQ(shards->tensors.size(), 2u);
  for (const StoredTensor& tensor : shards->tensors) {
    EXPECT_EQ(tensor.file, tensor.name == "y" ? 0 : 1);
  }
}

TEST_F(WeightShardsTest, AcceptsALinkInsideTheDirectory) {
  WriteShards();
  std::filesystem::create_symlink("b.safetensors", directory_.PathOf("c.safetensors"));
  directory_.Write(kIndex, R"({"weight_map": {"x": "c.safetensors", "y": "a.safetensors"}})");

  EXPECT_EQ(Error(), "");
}

// As Hugging Face's cache has it: the shards are links to blobs of another directory.
TEST_F(WeightShardsTest, FollowsLinksOutOfTheDirectory) {
  namespace fs = std::filesystem;
  fs::create_directories(directory_.PathOf("blobs"));
  fs::create_directories(directory_.PathOf("snapshots/1a2b"));
  directory_.Write("blobs/77aa", SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());
  directory_.Write("blobs/88bb", R"({"weight_map": {"x": "model-1.safetensors"}})");
  fs::create_symlink("../../blobs/77aa", directory_.PathOf("snapshots/1a2b/model-1.safetensors"));
  fs::create_symlink("../../blobs/88bb",
                     directory_.PathOf(std::string("snapshots/1a2b/") + kIndex));

  const auto shards = OpenWeightShards(directory_.PathOf("snapshots/1a2b"));

  ASSERT_TRUE(shards.ok()) << shards.status();
  ASSERT_EQ(shards->tensors.size(), 1u);
  EXPECT_EQ(shards->tensors[0].name, "x");
}

TEST_F(WeightShardsTest, RefusesALinkToNothingByName) {
  std::filesystem::create_symlink("gone", directory_.PathOf("x.safetensors"));
  directory_.Write(kIndex, R"({"weight_map": {"x": "x.safetensors"}})");

  EXPECT_THAT(Error(), AllOf(HasSubstr(kIndex), HasSubstr("\"x.safetensors\": no such file")));
}

TEST_F(WeightShardsTest, NeedsWeights) { EXPECT_THAT(Error(), HasSubstr("no *.safetensors file")); }

TEST_F(WeightShardsTest, NeedsAnIndexForSeveralFiles) {
  WriteShards();
  EXPECT_THAT(Error(), HasSubstr("2 *.safetensors files (a.safetensors, b.safetensors), but no "
                                 "model.safetensors.index.json"));
}

TEST_F(WeightShardsTest, RefusesAnIndexBesideASingleFile) {
  directory_.Write("model.safetensors", SafetensorsBuilder().Build());
  directory_.Write(kIndex, R"({"weight_map": {}})");
  EXPECT_THAT(Error(), HasSubstr("has both"));
}

TEST_F(WeightShardsTest, RefusesABadIndexByName) {
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

class PytorchShardsTest : public WeightShardsTest {
 protected:
  // A fixture of tests/golden/make_torch_files.py under another name.
  void Copy(const std::string& fixture, const std::string& name) const {
    std::filesystem::copy_file("tests/golden/torch/" + fixture, directory_.PathOf(name));
  }
};

TEST_F(PytorchShardsTest, OpensPytorchModelBinBesideOtherFilesOfTraining) {
  Copy("protocol_4.pt", "pytorch_model.bin");
  Copy("training.pt", "optimizer.pt");
  Copy("unknown_class.pt", "training_args.bin");

  const auto weights = OpenWeightShards(directory_.path());

  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->format, "pytorch");
  ASSERT_EQ(weights->tensors.size(), 1u);
  EXPECT_EQ(weights->tensors[0].name, "a");
}

TEST_F(PytorchShardsTest, OpensTheOnlyFileAndTakesItsDictByKey) {
  Copy("training.pt", "last.pt");

  const auto weights = OpenWeightShards(directory_.path(), {.key = "averaged"});

  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->choice->chosen.key, "averaged");
  EXPECT_EQ(weights->tensors.size(), 8u);
}

TEST_F(PytorchShardsTest, OpensIndexedShardsWithTheirViews) {
  Copy("tensors.pt", "pytorch_model-2.bin");
  Copy("protocol_4.pt", "pytorch_model-1.bin");
  std::string map = R"("a": "pytorch_model-1.bin")";
  const auto second = OpenWeightFile(directory_.PathOf("pytorch_model-2.bin"));
  ASSERT_TRUE(second.ok()) << second.status();
  for (const StoredTensor& tensor : second->tensors) {
    map += ", \"" + tensor.name + "\": \"pytorch_model-2.bin\"";
  }
  directory_.Write("pytorch_model.bin.index.json", "{\"weight_map\": {" + map + "}}");

  const auto weights = OpenWeightShards(directory_.path());

  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->tensors.size(), 20u);
  for (const StoredTensor& tensor : weights->tensors) {
    if (tensor.name != "transposed") continue;
    float values[2] = {};
    ASSERT_TRUE(weights->files[tensor.file]
                    ->Read(tensor.offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(values), 8))
                    .ok());
    EXPECT_EQ(values[1], 6);
  }
}

TEST_F(PytorchShardsTest, NeedsToKnowWhichOfSeveralFiles) {
  Copy("training.pt", "step_1.pt");
  Copy("training.pt", "step_2.pt");

  EXPECT_THAT(Error(), HasSubstr("(step_1.pt, step_2.pt)"));
}

TEST_F(PytorchShardsTest, PrefersSafetensors) {
  directory_.Write("weights.safetensors",
                   SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build());
  Copy("protocol_4.pt", "pytorch_model.bin");

  EXPECT_EQ(OpenWeightShards(directory_.path())->format, "safetensors");
}

}  // namespace
}  // namespace peerage
