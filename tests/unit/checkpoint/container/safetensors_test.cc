#include "model/checkpoint/container/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "tests/support/memory_file.h"
#include "tests/support/pattern_bytes.h"
#include "tests/support/safetensors_builder.h"

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

absl::StatusOr<SafetensorsContents> ReadFile(const std::string& bytes,
                                             const SafetensorsLimits& limits = {}) {
  return ReadSafetensors(MemoryFile(bytes, "the_file"), limits);
}

TEST(SafetensorsTest, ReadsTensorsOfAllDtypesThatWeightsMayHave) {
  const std::string file = SafetensorsBuilder()
                               .Add("a", "F32", {2, 3}, PatternBytes(24))
                               .Add("b", "BF16", {5}, PatternBytes(10))
                               .Add("c", "F16", {1, 1, 2}, PatternBytes(4))
                               .Metadata(R"({"format": "pt"})")
                               .Build();

  const auto contents = ReadFile(file);

  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->tensors.size(), 3u);
  const uint64_t data = file.size() - 38;
  EXPECT_EQ(contents->tensors[0].name, "a");
  EXPECT_EQ(contents->tensors[0].type, TensorType::kF32);
  EXPECT_THAT(contents->tensors[0].shape, ElementsAre(2, 3));
  EXPECT_EQ(contents->tensors[0].offset, data);
  EXPECT_EQ(contents->tensors[0].bytes, 24u);
  EXPECT_EQ(contents->tensors[1].type, TensorType::kBF16);
  EXPECT_EQ(contents->tensors[1].offset, data + 24);
  EXPECT_EQ(contents->tensors[2].type, TensorType::kF16);
  EXPECT_THAT(contents->tensors[2].shape, ElementsAre(1, 1, 2));
  EXPECT_EQ(contents->tensors[2].offset, data + 34);
  EXPECT_THAT(contents->metadata, ElementsAre(Pair("format", "pt")));
}

TEST(SafetensorsTest, ReadsZeroSizeAndScalarTensors) {
  const auto contents = ReadFile(SafetensorsBuilder()
                                     .Add("empty", "F32", {0, 7}, "")
                                     .Add("scalar", "F32", {}, PatternBytes(4))
                                     .Add("none", "F16", {2, 0}, "")
                                     .Build());

  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->tensors.size(), 3u);
  EXPECT_EQ(contents->tensors[0].name, "empty");
  EXPECT_EQ(contents->tensors[0].bytes, 0u);
  EXPECT_THAT(contents->tensors[1].shape, IsEmpty());
  EXPECT_EQ(contents->tensors[1].bytes, 4u);
}

TEST(SafetensorsTest, KnowsDtypesThatNoWeightMayHave) {
  const auto contents = ReadFile(SafetensorsBuilder()
                                     .Add("long", "I64", {1}, PatternBytes(8))
                                     .Add("nibbles", "F4", {2}, PatternBytes(1))
                                     .Build());

  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->tensors[0].type, std::nullopt);
  EXPECT_EQ(contents->tensors[0].dtype, "I64");
  EXPECT_EQ(contents->tensors[1].bytes, 1u);
}

TEST(SafetensorsTest, ReadsAHeaderInAnyOrderWithBlanksAround) {
  const auto contents =
      ReadFile(SafetensorsFile(R"(  {"b": {"shape": [1], "data_offsets": [2, 4], "dtype": "F16"},
                              "a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}} )",
                               "abcd"));

  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->tensors[0].name, "a");
  EXPECT_EQ(contents->tensors[1].name, "b");
}

TEST(SafetensorsTest, ReadsAFileWithoutTensors) {
  const auto contents = ReadFile(SafetensorsFile("{}", ""));

  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_THAT(contents->tensors, IsEmpty());
}

TEST(SafetensorsTest, RefusesEveryTruncationOfAFile) {
  const std::string file = SafetensorsBuilder()
                               .Add("a", "F32", {2}, PatternBytes(8))
                               .Add("b", "BF16", {1}, PatternBytes(2))
                               .Build();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(ReadFile(file.substr(0, size)).ok()) << size;
  }
}

TEST(SafetensorsTest, LimitsTheHeaderAndTheNumberOfTensors) {
  const std::string file =
      SafetensorsBuilder().Add("a", "F16", {0}, "").Add("b", "F16", {0}, "").Build();
  const uint64_t header_bytes = file.size() - 8;

  EXPECT_TRUE(ReadFile(file, {.max_header_bytes = header_bytes, .max_tensors = 2}).ok());
  EXPECT_FALSE(ReadFile(file, {.max_header_bytes = header_bytes - 1, .max_tensors = 2}).ok());
  EXPECT_FALSE(ReadFile(file, {.max_header_bytes = header_bytes, .max_tensors = 1}).ok());
}

std::string Entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return absl::StrCat(R"({"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)", offsets,
                      "}");
}

// A file with one tensor "t" of four bytes, unless the arguments say otherwise.
std::string OneTensor(const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
  return SafetensorsFile(absl::StrCat(R"({"t":)", Entry(dtype, shape, offsets), "}"), "abcd");
}

std::string TenTensorsOnTheSameBytes() {
  std::string header = "{";
  for (int i = 0; i < 10; ++i) {
    absl::StrAppend(&header, i == 0 ? "" : ",", "\"t", i, "\":", Entry("\"F32\"", "[1]", "[0,4]"));
  }
  return SafetensorsFile(header + "}", "abcd");
}

struct BadSafetensors {
  const char* name;
  std::string bytes;
  const char* error;
};

class BadSafetensorsTest : public ::testing::TestWithParam<BadSafetensors> {};

TEST_P(BadSafetensorsTest, IsRefusedWithTheFilesName) {
  const auto contents = ReadFile(GetParam().bytes);

  ASSERT_FALSE(contents.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(contents.status())) << contents.status();
  EXPECT_THAT(std::string(contents.status().message()),
              AllOf(HasSubstr("the_file: "), HasSubstr(GetParam().error)));
}

const uint64_t kHugeSize = std::numeric_limits<uint64_t>::max();

INSTANTIATE_TEST_SUITE_P(
    Header, BadSafetensorsTest,
    ::testing::Values(
        BadSafetensors{"Empty", "", "is an empty file"},
        BadSafetensors{"TooSmall", "1234567", "shorter than 8 bytes"},
        BadSafetensors{"TooLarge", LittleEndianBytes(kHugeSize) + "{}", "at most"},
        BadSafetensors{"AboveTheLimit", LittleEndianBytes<uint64_t>((16 << 20) + 1) + "{}",
                       "at most"},
        BadSafetensors{"LongerThanTheFile", LittleEndianBytes<uint64_t>(3) + "{}",
                       "in a file of 10"},
        BadSafetensors{"NoBytes", SafetensorsFile("", ""), "not valid JSON"},
        BadSafetensors{"NotUtf8", SafetensorsFile("{\"\xff\xfe\": 1}", ""), "not valid JSON"},
        BadSafetensors{"NotJson", SafetensorsFile("{\"t\": ", ""), "not valid JSON"},
        BadSafetensors{"NotAnObject", SafetensorsFile("[]", ""), "not a JSON object"},
        BadSafetensors{"NulPadding", SafetensorsFile(std::string("{}\0\0\0\0\0\0", 8), ""), "NUL"},
        BadSafetensors{"ByteOrderMark", SafetensorsFile("\xef\xbb\xbf{}", ""), "byte-order mark"},
        BadSafetensors{"TwoObjects", SafetensorsFile("{}{}", ""), "not valid JSON"},
        BadSafetensors{"TooDeep", SafetensorsFile(R"({"t":{"shape":[[[1]]]}})", ""),
                       "deeper than 4"},
        BadSafetensors{
            "DuplicateTensor",
            SafetensorsFile(absl::StrCat(R"({"t":)", Entry("\"F32\"", "[1]", "[0,4]"), R"(,"t":)",
                                         Entry("\"F32\"", "[1]", "[0,4]"), "}"),
                            "abcd"),
            "duplicate key \"t\""},
        BadSafetensors{
            "DuplicateField",
            SafetensorsFile(
                R"({"t":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}})", "abcd"),
            "duplicate key \"dtype\""},
        BadSafetensors{"MetadataNotAnObject", SafetensorsFile(R"({"__metadata__":"x"})", ""),
                       "__metadata__: not an object"},
        BadSafetensors{"MetadataNotAString", SafetensorsFile(R"({"__metadata__":{"a":1}})", ""),
                       "__metadata__: \"a\" is not a string"},
        BadSafetensors{"MetadataTooLong",
                       SafetensorsFile(absl::StrCat(R"({"__metadata__":{"a":")",
                                                    std::string(1 << 20, 'x'), R"("}})"),
                                       ""),
                       "__metadata__: longer"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Tensor, BadSafetensorsTest,
    ::testing::Values(
        BadSafetensors{"NotAnObject", SafetensorsFile(R"({"t":[1,2,3]})", "abcd"), "tensor \"t\""},
        BadSafetensors{"MissingField",
                       SafetensorsFile(R"({"t":{"dtype":"F32","shape":[1]}})", "abcd"),
                       "tensor \"t\""},
        BadSafetensors{
            "UnknownField",
            SafetensorsFile(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})",
                            "abcd"),
            "tensor \"t\""},
        BadSafetensors{
            "MisnamedField",
            SafetensorsFile(R"({"t":{"dtype":"F32","shape":[1],"offsets":[0,4]}})", "abcd"),
            "data_offsets is not a list"},
        BadSafetensors{"LongName",
                       SafetensorsFile(absl::StrCat("{\"", std::string(513, 'n'),
                                                    "\":", Entry("\"F32\"", "[1]", "[0,4]"), "}"),
                                       "abcd"),
                       "longer than 512"},
        BadSafetensors{"UnknownDtype", OneTensor("\"F31\"", "[1]", "[0,4]"),
                       "dtype \"F31\" is unknown"},
        BadSafetensors{"LowerCaseDtype", OneTensor("\"f32\"", "[1]", "[0,4]"), "is unknown"},
        BadSafetensors{"DtypeNotAString", OneTensor("32", "[1]", "[0,4]"), "dtype is not a string"},
        BadSafetensors{"ShapeNotAList", OneTensor("\"F32\"", "1", "[0,4]"), "shape is not a list"},
        BadSafetensors{"NegativeShape", OneTensor("\"F32\"", "[-1]", "[0,4]"), "plain integers"},
        BadSafetensors{"FloatShape", OneTensor("\"F32\"", "[1.0]", "[0,4]"), "plain integers"},
        BadSafetensors{"ExponentShape", OneTensor("\"F32\"", "[1e0]", "[0,4]"), "plain integers"},
        BadSafetensors{"NegativeZero", OneTensor("\"F32\"", "[1]", "[-0,4]"), "plain integers"},
        BadSafetensors{"StringShape", OneTensor("\"F32\"", "[\"1\"]", "[0,4]"), "plain integers"},
        BadSafetensors{"ShapeBeyond64Bits", OneTensor("\"F32\"", "[18446744073709551616]", "[0,4]"),
                       "plain integers"},
        BadSafetensors{"ShapeBeyond63Bits",
                       OneTensor("\"F32\"", "[0,9223372036854775808]", "[0,0]"), "shape overflows"},
        BadSafetensors{"ProductOverflows", OneTensor("\"F32\"", "[4294967296,4294967296]", "[0,4]"),
                       "shape overflows"},
        BadSafetensors{"BitsOverflow", OneTensor("\"F32\"", "[1152921504606846977]", "[0,4]"),
                       "shape overflows"},
        BadSafetensors{"SubByteMisaligned", OneTensor("\"F4\"", "[3]", "[0,2]"), "whole bytes"},
        BadSafetensors{"OffsetsNotAPair", OneTensor("\"F32\"", "[1]", "[0,4,4]"), "[begin, end]"},
        BadSafetensors{"OffsetsReversed", OneTensor("\"F32\"", "[1]", "[4,0]"), "[begin, end]"},
        BadSafetensors{"SizeMismatch", OneTensor("\"F32\"", "[2]", "[0,4]"), "ask for 8"},
        BadSafetensors{"OffsetsOverflow",
                       OneTensor("\"F32\"", "[1]", "[18446744073709551612,18446744073709551615]"),
                       "span 3 bytes"},
        BadSafetensors{"BeyondTheEnd", OneTensor("\"F32\"", "[2]", "[0,8]"), "beyond the end"},
        BadSafetensors{"HoleAtTheStart", OneTensor("\"F16\"", "[1]", "[2,4]"), "a hole before it"},
        BadSafetensors{"TrailingBytes", OneTensor("\"F16\"", "[1]", "[0,2]"),
                       "2 bytes after the last tensor"},
        BadSafetensors{"TenOnTheSameBytes", TenTensorsOnTheSameBytes(), "an overlap"},
        BadSafetensors{
            "HoleBetween",
            SafetensorsFile(absl::StrCat(R"({"a":)", Entry("\"U8\"", "[1]", "[0,1]"), R"(,"b":)",
                                         Entry("\"U8\"", "[2]", "[2,4]"), "}"),
                            "abcd"),
            "tensor \"b\": a hole before it"},
        BadSafetensors{
            "Overlap",
            SafetensorsFile(absl::StrCat(R"({"a":)", Entry("\"U8\"", "[3]", "[0,3]"), R"(,"b":)",
                                         Entry("\"U8\"", "[2]", "[2,4]"), "}"),
                            "abcd"),
            "tensor \"b\": an overlap"},
        BadSafetensors{
            "EmptyTensorInsideAnother",
            SafetensorsFile(absl::StrCat(R"({"a":)", Entry("\"U8\"", "[4]", "[0,4]"), R"(,"b":)",
                                         Entry("\"U8\"", "[0]", "[2,2]"), "}"),
                            "abcd"),
            "tensor \"b\": an overlap"},
        BadSafetensors{
            "TwoBytesShort",
            SafetensorsFile(absl::StrCat(R"({"a":)", Entry("\"F32\"", "[1]", "[0,4]"), "}"), "ab"),
            "beyond the end"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
