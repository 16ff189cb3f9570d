#include "model/checkpoint/container/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/checkpoint/container/gguf.h"
#include "model/checkpoint/container/random_access_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/pattern_bytes.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

GgufMetadata Keys() {
  GgufMetadata keys;
  EXPECT_TRUE(keys.Insert("a.uint32", {GgufType::kUint32, uint64_t{7}}));
  EXPECT_TRUE(keys.Insert("b.float32", {GgufType::kFloat32, 0.5}));
  EXPECT_TRUE(keys.Insert("c.bool", {GgufType::kBool, true}));
  EXPECT_TRUE(keys.Insert("d.string", {GgufType::kString, std::string("text")}));
  EXPECT_TRUE(keys.Insert("e.strings", {GgufType::kArray, std::vector<std::string>{"x", ""}}));
  EXPECT_TRUE(keys.Insert(
      "f.numbers",
      {GgufType::kArray, GgufNumbers{GgufType::kInt32, {1, 0, 0, 0, 255, 255, 255, 255}}}));
  EXPECT_TRUE(keys.Insert("g.float64", {GgufType::kFloat64, 0.1}));
  EXPECT_TRUE(keys.Insert("h.int64", {GgufType::kInt64, int64_t{-3}}));
  return keys;
}

TEST(GgufWriterTest, WritesWhatTheFormatAsksFor) {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x.gguf");
  const std::string first = PatternBytes(2 * 34, 1), second = PatternBytes(12, 2);

  auto writer = GgufWriter::Create(path, Keys(),
                                   {{"first", TensorType::kQ8_0, {2, 32}, first.size()},
                                    {"second", TensorType::kF32, {3}, second.size()}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::string all = first + second;
  for (size_t i = 0; i < all.size(); i += 7) {
    const std::string piece = all.substr(i, 7);
    ASSERT_TRUE(
        (*writer)->Append({reinterpret_cast<const uint8_t*>(piece.data()), piece.size()}).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());

  GgufBuilder expected;
  expected.Uint32("a.uint32", 7)
      .Float32("b.float32", 0.5f)
      .Bool("c.bool", true)
      .String("d.string", "text")
      .Strings("e.strings", {"x", ""})
      .Array("f.numbers", kGgufInt32, 2,
             LittleEndianBytes<int32_t>(1) + LittleEndianBytes<int32_t>(-1))
      .Key("g.float64", kGgufFloat64, LittleEndianBytes(0.1))
      .Key("h.int64", kGgufInt64, LittleEndianBytes<int64_t>(-3))
      .Tensor("first", {32, 2}, 8, first)
      .Tensor("second", {3}, 0, second);
  EXPECT_EQ(*ReadTextFile(path, 1 << 20), expected.Build());
  const auto file = OpenRandomAccessFile(path);
  const auto contents = ReadGguf(**file);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->tensors[0].shape, (std::vector<int64_t>{2, 32}));
}

TEST(GgufWriterTest, CountsBytes) {
  const TemporaryDirectory directory;
  auto writer = GgufWriter::Create(directory.PathOf("x.gguf"), GgufMetadata(),
                                   {{"t", TensorType::kF32, {2}, 8}});
  const std::vector<uint8_t> bytes(8);

  ASSERT_TRUE((*writer)->Append({bytes.data(), 7}).ok());
  EXPECT_THAT(std::string((*writer)->Finish().message()), HasSubstr("fewer bytes"));
  EXPECT_THAT(std::string((*writer)->Append({bytes.data(), 2}).message()), HasSubstr("more bytes"));
}

}  // namespace
}  // namespace peerage
