#include "model/checkpoint/container/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/little_endian.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/memory_file.h"
#include "tests/support/pattern_bytes.h"

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr uint32_t kF32 = 0, kQ4_1 = 3, kQ8_0 = 8, kQ6_K = 14;

absl::StatusOr<GgufContents> Read(const std::string& bytes) {
  return ReadGguf(MemoryFile(bytes, "the_file"));
}

TEST(GgufTest, ReadsValuesOfEveryType) {
  GgufBuilder builder;
  builder.Key("u8", kGgufUint8, LittleEndianBytes<uint8_t>(200))
      .Key("i8", kGgufInt8, LittleEndianBytes<int8_t>(-100))
      .Key("u16", kGgufUint16, LittleEndianBytes<uint16_t>(60'000))
      .Key("i16", kGgufInt16, LittleEndianBytes<int16_t>(-30'000))
      .Uint32("u32", 4'000'000'000)
      .Key("i32", kGgufInt32, LittleEndianBytes<int32_t>(-2'000'000'000))
      .Float32("f32", 0.5f)
      .Bool("bool", true)
      .String("string", "text")
      .Key("u64", kGgufUint64, LittleEndianBytes<uint64_t>(1ull << 63))
      .Key("i64", kGgufInt64, LittleEndianBytes<int64_t>(-(1ll << 62)))
      .Key("f64", kGgufFloat64, LittleEndianBytes<double>(0.1))
      .Strings("strings", {"a", "", "bc"})
      .Array("numbers", kGgufInt16, 2,
             LittleEndianBytes<int16_t>(-5) + LittleEndianBytes<int16_t>(7));

  const auto contents = Read(builder.Build());

  ASSERT_TRUE(contents.ok()) << contents.status();
  const GgufMetadata& metadata = contents->metadata;
  const auto value = [&](const char* key) { return metadata.Find(key)->value; };
  EXPECT_EQ(std::get<uint64_t>(value("u8")), 200u);
  EXPECT_EQ(std::get<int64_t>(value("i8")), -100);
  EXPECT_EQ(std::get<uint64_t>(value("u16")), 60'000u);
  EXPECT_EQ(std::get<int64_t>(value("i16")), -30'000);
  EXPECT_EQ(std::get<uint64_t>(value("u32")), 4'000'000'000u);
  EXPECT_EQ(std::get<int64_t>(value("i32")), -2'000'000'000);
  EXPECT_EQ(std::get<double>(value("f32")), 0.5);
  EXPECT_EQ(std::get<bool>(value("bool")), true);
  EXPECT_EQ(std::get<std::string>(value("string")), "text");
  EXPECT_EQ(std::get<uint64_t>(value("u64")), 1ull << 63);
  EXPECT_EQ(std::get<int64_t>(value("i64")), -(1ll << 62));
  EXPECT_EQ(std::get<double>(value("f64")), 0.1);
  EXPECT_THAT(**metadata.Strings("strings"), ElementsAre("a", "", "bc"));
  EXPECT_THAT(*metadata.Integers("numbers"), Optional(ElementsAre(-5, 7)));
}

TEST(GgufTest, NamesTheKeyWhoseTypeIsNotTheOneAskedFor) {
  GgufBuilder builder;
  builder.String("s", "x")
      .Float32("f", 1)
      .Key("negative", kGgufInt32, LittleEndianBytes<int32_t>(-1))
      .Array("floats", kGgufFloat32, 1, LittleEndianBytes(1.0f))
      .Array("large", kGgufUint64, 1, LittleEndianBytes(~uint64_t{0}));
  const auto contents = Read(builder.Build());
  ASSERT_TRUE(contents.ok()) << contents.status();
  const GgufMetadata& metadata = contents->metadata;

  for (const absl::Status& status :
       {metadata.Integer("f").status(), metadata.Number("s").status(), metadata.Bool("f").status(),
        metadata.String("f").status(), metadata.Strings("floats").status(),
        metadata.Integers("floats").status()}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr("not"));
  }
  EXPECT_THAT(std::string(metadata.Integer("negative").status().message()),
              HasSubstr("\"negative\" is negative"));
  EXPECT_FALSE(metadata.Integers("large").ok());
  EXPECT_THAT(*metadata.Integer("absent"), std::nullopt);
  EXPECT_EQ(*metadata.Strings("absent"), nullptr);
}

TEST(GgufTest, ReadsTensorsWithTheirShapesReversed) {
  GgufBuilder builder;
  builder.Tensor("matrix", {64, 3}, kQ4_1, PatternBytes(3 * 40))
      .Tensor("vector", {5}, kF32, PatternBytes(20))
      .Tensor("scalar", {}, kF32, PatternBytes(4))
      .Tensor("empty", {0, 2}, kF32, "")
      .Tensor("k_quant", {256}, kQ6_K, PatternBytes(210));
  const std::string file = builder.Build();

  const auto contents = Read(file);

  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->tensors.size(), 5u);
  const StoredTensor& matrix = contents->tensors[0];
  EXPECT_THAT(matrix.shape, ElementsAre(3, 64));
  EXPECT_EQ(matrix.type, TensorType::kQ4_1);
  EXPECT_EQ(matrix.bytes, 120u);
  EXPECT_EQ(matrix.offset % 32, 0u);
  EXPECT_EQ(file.substr(matrix.offset, 120), PatternBytes(120));
  EXPECT_EQ(contents->tensors[1].offset, matrix.offset + 128);
  EXPECT_EQ(contents->tensors[4].bytes, 210u);
}

TEST(GgufTest, ReadsVersionTwoAndAnyPowerOfTwoAsAlignment) {
  for (const uint32_t alignment : {1, 8, 64, 4096}) {
    GgufBuilder builder;
    builder.version = 2;
    builder.alignment = alignment;
    builder.Uint32("general.alignment", alignment)
        .Tensor("a", {1}, kF32, "abcd")
        .Tensor("b", {1}, kF32, "efgh");
    const std::string file = builder.Build();

    const auto contents = Read(file);

    ASSERT_TRUE(contents.ok()) << contents.status();
    EXPECT_EQ(file.substr(contents->tensors[1].offset, 4), "efgh") << alignment;
  }
}

TEST(GgufTest, ReadsStringsAcrossItsBuffersEdges) {
  std::vector<std::string> strings;
  for (int i = 0; i < 3'000; ++i) strings.push_back(PatternBytes(i % 257, i));
  strings.push_back(PatternBytes(1 << 20));
  GgufBuilder builder;
  builder.Strings("strings", strings);

  const auto contents = Read(builder.Build());

  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(**contents->metadata.Strings("strings"), strings);
}

TEST(GgufTest, DoesNotNeedThePaddingAfterTheLastTensor) {
  std::string file = GgufBuilder().Tensor("t", {1}, kF32, "abcd").Build();
  file.resize(file.size() - 28);

  EXPECT_TRUE(Read(file).ok());
}

TEST(GgufTest, RefusesEveryTruncationOfAFile) {
  std::string file = GgufBuilder()
                         .Uint32("general.alignment", 32)
                         .String("s", "text")
                         .Strings("strings", {"a", "bc"})
                         .Array("numbers", kGgufInt32, 1, LittleEndianBytes(1))
                         .Tensor("a", {32, 2}, kQ8_0, PatternBytes(68))
                         .Tensor("b", {8}, kF32, PatternBytes(32))
                         .Build();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(Read(file.substr(0, size)).ok()) << size;
  }
  EXPECT_TRUE(Read(file).ok());
}

// Types that nothing here reads are known by name and size: gguf-py's GGML_QUANT_SIZES.
TEST(GgufTest, KnowsTheSizesOfTypesThatItDoesNotRead) {
  const struct {
    uint32_t id;
    const char* name;
    uint64_t elements, bytes;
  } types[] = {{10, "Q2_K", 256, 84},  {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
               {20, "IQ4_NL", 32, 18}, {23, "IQ4_XS", 256, 136}, {28, "F64", 1, 8},
               {35, "TQ2_0", 256, 66}, {39, "MXFP4", 32, 17}};
  GgufBuilder builder;
  for (const auto& type : types) {
    builder.Tensor(type.name, {3 * type.elements, 2}, type.id, PatternBytes(6 * type.bytes));
  }
  const auto contents = ReadGguf(MemoryFile(builder.Build()));

  ASSERT_TRUE(contents.ok()) << contents.status();
  for (size_t i = 0; i < std::size(types); ++i) {
    EXPECT_EQ(contents->tensors[i].dtype, types[i].name);
    EXPECT_EQ(contents->tensors[i].type, std::nullopt);
    EXPECT_EQ(contents->tensors[i].bytes, 6 * types[i].bytes);
  }
}

struct BadFile {
  const char* name;
  std::function<void(GgufBuilder&)> break_it;
  const char* error;
};

class BadGgufTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadGgufTest, IsRefusedWithTheFilesName) {
  GgufBuilder builder;
  GetParam().break_it(builder);

  const auto contents = Read(builder.Build());

  ASSERT_FALSE(contents.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(contents.status())) << contents.status();
  EXPECT_THAT(std::string(contents.status().message()),
              AllOf(HasSubstr("the_file: "), HasSubstr(GetParam().error)));
}

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

INSTANTIATE_TEST_SUITE_P(
    Header, BadGgufTest,
    ::testing::Values(
        BadFile{"Magic", [](GgufBuilder& b) { b.magic = "FUGG"; }, "does not begin with GGUF"},
        BadFile{"MagicOfGgml", [](GgufBuilder& b) { b.magic = "ggml"; }, "GGUF"},
        BadFile{"Version0", [](GgufBuilder& b) { b.version = 0; }, "version 0"},
        BadFile{"Version1", [](GgufBuilder& b) { b.version = 1; }, "version 1"},
        BadFile{"VersionOfTheFuture", [](GgufBuilder& b) { b.version = 4; }, "version 4"},
        BadFile{"VersionByteSwapped", [](GgufBuilder& b) { b.version = 3u << 24; }, "big endian"},
        BadFile{"TooManyTensors", [](GgufBuilder& b) { b.num_tensors = 65'537; }, "65537 tensors"},
        BadFile{"NegativeTensors", [](GgufBuilder& b) { b.num_tensors = kHuge; }, "tensors"},
        BadFile{"TooManyKeys", [](GgufBuilder& b) { b.num_keys = 65'537; }, "65537 keys"},
        BadFile{"NegativeKeys", [](GgufBuilder& b) { b.num_keys = kHuge; }, "keys"},
        BadFile{"FewerTensorsThanSaid", [](GgufBuilder& b) { b.num_tensors = 1; }, "truncated"},
        BadFile{"FewerKeysThanSaid", [](GgufBuilder& b) { b.num_keys = 1; }, "key 0 is empty"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Key, BadGgufTest,
    ::testing::Values(
        BadFile{"Empty", [](GgufBuilder& b) { b.Uint32("", 1); }, "key 0 is empty"},
        BadFile{"Duplicate", [](GgufBuilder& b) { b.Uint32("k", 1).Uint32("k", 1); },
                "key \"k\" is there twice"},
        BadFile{"TypeUnknown", [](GgufBuilder& b) { b.Key("k", 13, "abcd"); },
                "\"k\": value type 13"},
        BadFile{"TypeHuge", [](GgufBuilder& b) { b.Key("k", 0xffffffff, "abcd"); }, "value type"},
        BadFile{"BoolOfTwo", [](GgufBuilder& b) { b.Key("k", kGgufBool, "\2"); }, "bool"},
        BadFile{"StringBeyondTheFile",
                [](GgufBuilder& b) { b.Key("k", kGgufString, LittleEndianBytes<uint64_t>(100)); },
                "\"k\": string of 100 bytes"},
        BadFile{"StringOfMinusOne",
                [](GgufBuilder& b) { b.Key("k", kGgufString, LittleEndianBytes(kHuge)); },
                "\"k\": string of"},
        BadFile{"StringAboveTheLimit",
                [](GgufBuilder& b) { b.String("k", std::string((1 << 20) + 1, 'x')); },
                "at most 1048576"},
        BadFile{"ArrayOfArrays", [](GgufBuilder& b) { b.Array("k", kGgufArray, 0, ""); },
                "array of arrays"},
        BadFile{"ArrayOfUnknownType", [](GgufBuilder& b) { b.Array("k", 13, 0, ""); },
                "value type 13"},
        BadFile{"ArrayCountHuge", [](GgufBuilder& b) { b.Array("k", kGgufUint8, kHuge, "x"); },
                "\"k\": array of"},
        BadFile{"ArrayCountOverflows",
                [](GgufBuilder& b) { b.Array("k", kGgufUint64, (1ull << 61) + 1, "12345678"); },
                "array of"},
        BadFile{"ArrayBeyondTheFile", [](GgufBuilder& b) { b.Array("k", kGgufUint32, 20, "abcd"); },
                "array of 20"},
        BadFile{"StringsBeyondTheFile",
                [](GgufBuilder& b) { b.Array("k", kGgufString, 20, GgufString("x")); },
                "array of 20"},
        BadFile{"ArrayAboveTheLimit",
                [](GgufBuilder& b) {
                  b.Array("k", kGgufUint8, (4 << 20) + 1, std::string((4 << 20) + 1, 'x'));
                },
                "at most 4194304"},
        BadFile{"StringOfMinusOneInArray",
                [](GgufBuilder& b) {
                  b.Array("k", kGgufString, 2, GgufString("x") + LittleEndianBytes(kHuge));
                },
                "\"k\": string of"},
        BadFile{"Alignment0", [](GgufBuilder& b) { b.Uint32("general.alignment", 0); },
                "general.alignment is 0"},
        BadFile{"AlignmentNotAPowerOfTwo",
                [](GgufBuilder& b) { b.Uint32("general.alignment", 48); }, "not a power of two"},
        BadFile{"AlignmentOfAnotherType",
                [](GgufBuilder& b) {
                  b.Key("general.alignment", kGgufUint64, LittleEndianBytes<uint64_t>(32));
                },
                "general.alignment is of type uint64"},
        BadFile{"AlignmentAString", [](GgufBuilder& b) { b.String("general.alignment", "32"); },
                "general.alignment is of type string"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Tensor, BadGgufTest,
    ::testing::Values(
        BadFile{"NameTooLong",
                [](GgufBuilder& b) { b.Tensor(std::string(64, 'n'), {1}, kF32, "abcd"); },
                "name of tensor 0: string of 64 bytes; at most 63"},
        BadFile{
            "NameDuplicate",
            [](GgufBuilder& b) { b.Tensor("t", {1}, kF32, "abcd").Tensor("t", {1}, kF32, "abcd"); },
            "tensor \"t\" is there twice"},
        BadFile{"FiveDimensions",
                [](GgufBuilder& b) {
                  b.Tensor("t", {1, 1, 1, 1, 1}, kF32, "abcd");
                },
                "tensor \"t\": 5 dimensions"},
        BadFile{"NegativeDimension", [](GgufBuilder& b) { b.Tensor("t", {kHuge}, kF32, ""); },
                "tensor \"t\": shape overflows"},
        BadFile{"DimensionsOverflow",
                [](GgufBuilder& b) {
                  b.Tensor("t", {1ull << 32, 1ull << 31}, kF32, "");
                },
                "tensor \"t\": shape overflows"},
        BadFile{"BytesOverflow",
                [](GgufBuilder& b) {
                  b.Tensor("t", {1, (1ull << 62) + 1}, kF32, "");
                },
                "tensor \"t\": size overflows"},
        BadFile{"SumOverflows",
                [](GgufBuilder& b) {
                  b.Tensor("t", {1ull << 61}, kF32, "").Tensor("u", {1ull << 61}, kF32, "");
                },
                "beyond the end"},
        BadFile{"TypeUnknown", [](GgufBuilder& b) { b.Tensor("t", {1}, 999, "abcd"); },
                "tensor \"t\": tensor type 999"},
        BadFile{"TypeRemoved", [](GgufBuilder& b) { b.Tensor("t", {32}, 4, ""); }, "tensor type 4"},
        BadFile{"RowNotOfWholeForeignBlocks",
                [](GgufBuilder& b) { b.Tensor("t", {255}, 12, std::string(144, 'x')); },
                "tensor \"t\": rows of 255 elements in Q4_K blocks of 256"},
        BadFile{"ForeignBeyondTheEnd", [](GgufBuilder& b) { b.Tensor("t", {256}, 12, ""); },
                "beyond the end"},
        BadFile{"RowNotOfWholeBlocks",
                [](GgufBuilder& b) {
                  b.Tensor("t", {33, 2}, kQ8_0, PatternBytes(68));
                },
                "tensor \"t\": rows of 33"},
        BadFile{"ScalarInBlocks", [](GgufBuilder& b) { b.Tensor("t", {}, kQ8_0, ""); },
                "rows of 1"},
        BadFile{"OffsetTooHigh", [](GgufBuilder& b) { b.Tensor("t", {1}, kF32, "abcd", 32); },
                "tensor \"t\": offset 32, not 0"},
        BadFile{"OffsetUnaligned",
                [](GgufBuilder& b) {
                  b.Tensor("t", {1}, kF32, "abcd").Tensor("u", {1}, kF32, "abcd", 4);
                },
                "tensor \"u\": offset 4, not 32"},
        BadFile{"OffsetsOverlap",
                [](GgufBuilder& b) {
                  b.Tensor("t", {1}, kF32, "abcd").Tensor("u", {1}, kF32, "abcd", 0);
                },
                "tensor \"u\": offset 0, not 32"},
        BadFile{"OffsetHuge", [](GgufBuilder& b) { b.Tensor("t", {1}, kF32, "abcd", kHuge); },
                "tensor \"t\": offset"},
        BadFile{"DataBeyondTheFile", [](GgufBuilder& b) { b.Tensor("t", {9}, kF32, "abcd"); },
                "tensor \"t\": its data lie beyond"},
        BadFile{"AlignmentBeyondTheFile",
                [](GgufBuilder& b) {
                  b.Uint32("general.alignment", 1u << 31).Tensor("t", {1}, kF32, "abcd");
                },
                "beyond the end"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
