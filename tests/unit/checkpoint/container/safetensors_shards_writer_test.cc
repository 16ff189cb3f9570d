#include "model/checkpoint/container/safetensors_shards_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/checkpoint/container/weight_shards.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

const std::vector<SafetensorsEntry> kPlan = {
    {"a", "I8", {4}, 4}, {"b", "I8", {3}, 3}, {"empty", "I8", {0}, 0}, {"c", "I8", {9}, 9}};
const std::vector<uint8_t> kBytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

class SafetensorsShardsWriterTest : public ::testing::Test {
 protected:
  // Writes the plan in appends of so many bytes.
  absl::Status Write(uint64_t max_shard_bytes, size_t at_once) const {
    auto writer = SafetensorsShardsWriter::Create(directory_.path(), kPlan, max_shard_bytes);
    if (!writer.ok()) return writer.status();
    for (size_t done = 0; done < kBytes.size(); done += at_once) {
      const absl::Status status =
          (*writer)->Append(absl::MakeConstSpan(kBytes).subspan(done, at_once));
      if (!status.ok()) return status;
    }
    return (*writer)->Finish();
  }

  // First bytes of the tensors, and the files they are in.
  std::map<std::string, std::pair<int, int>> ReadBack() const {
    const auto shards = OpenWeightShards(directory_.path());
    EXPECT_TRUE(shards.ok()) << shards.status();
    std::map<std::string, std::pair<int, int>> found;
    for (const StoredTensor& tensor : shards->tensors) {
      std::vector<uint8_t> bytes(tensor.bytes);
      EXPECT_TRUE(shards->files[tensor.file]->Read(tensor.offset, absl::MakeSpan(bytes)).ok());
      found[tensor.name] = {tensor.file, bytes.empty() ? 0 : bytes[0]};
    }
    return found;
  }

  const TemporaryDirectory directory_;
};

TEST_F(SafetensorsShardsWriterTest, WritesOneFileWhereThatIsEnough) {
  ASSERT_TRUE(Write(16, 5).ok());

  EXPECT_TRUE(std::filesystem::exists(directory_.PathOf("model.safetensors")));
  EXPECT_FALSE(std::filesystem::exists(directory_.PathOf("model.safetensors.index.json")));
  EXPECT_THAT(ReadBack(), UnorderedElementsAre(Pair("a", Pair(0, 1)), Pair("b", Pair(0, 5)),
                                               Pair("empty", Pair(0, 0)), Pair("c", Pair(0, 8))));
}

TEST_F(SafetensorsShardsWriterTest, CutsShardsBetweenTensors) {
  for (const size_t at_once : {1, 4, 16}) {
    ASSERT_TRUE(Write(7, at_once).ok()) << at_once;

    EXPECT_TRUE(std::filesystem::exists(directory_.PathOf("model-00001-of-00002.safetensors")));
    EXPECT_THAT(ReadBack(), UnorderedElementsAre(Pair("a", Pair(0, 1)), Pair("b", Pair(0, 5)),
                                                 Pair("empty", Pair(0, 0)), Pair("c", Pair(1, 8))));
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      std::filesystem::remove(entry);
    }
  }
}

TEST_F(SafetensorsShardsWriterTest, GivesALargeTensorAShardOfItsOwn) {
  ASSERT_TRUE(Write(3, 16).ok());

  EXPECT_THAT(ReadBack(), UnorderedElementsAre(Pair("a", Pair(0, 1)), Pair("b", Pair(1, 5)),
                                               Pair("empty", Pair(1, 0)), Pair("c", Pair(2, 8))));
}

TEST_F(SafetensorsShardsWriterTest, LeavesNothingWithoutFinish) {
  {
    auto writer = SafetensorsShardsWriter::Create(directory_.path(), kPlan, 4);
    ASSERT_TRUE((*writer)->Append(absl::MakeConstSpan(kBytes).subspan(0, 6)).ok());
  }

  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(SafetensorsShardsWriterTest, CountsBytes) {
  auto writer = SafetensorsShardsWriter::Create(directory_.path(), kPlan, 4);
  ASSERT_TRUE((*writer)->Append(absl::MakeConstSpan(kBytes).subspan(0, 6)).ok());
  EXPECT_THAT(std::string((*writer)->Finish().message()), HasSubstr("fewer bytes"));
  ASSERT_TRUE((*writer)->Append(absl::MakeConstSpan(kBytes).subspan(6)).ok());
  EXPECT_THAT(std::string((*writer)->Append({kBytes.data(), 1}).message()),
              HasSubstr("more bytes"));
}

}  // namespace
}  // namespace peerage
