#include "model/kernels/stored_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "model/kernels/float16.h"

namespace peerage::kernels {
namespace {

using ::testing::Each;
using Bytes = std::vector<uint8_t>;

constexpr TensorType kTypes[] = {TensorType::kF32,  TensorType::kF16,  TensorType::kBF16,
                                 TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0,
                                 TensorType::kQ5_1, TensorType::kQ8_0, TensorType::kQ6_K};
constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kQ8_0,
                                     WeightFormat::kQ4_1};

// What gguf.quants makes of the same bytes: tests/golden/make_stored_block_golden.py.
const nlohmann::json& Golden() {
  static const auto* golden =
      new nlohmann::json(nlohmann::json::parse(std::ifstream("tests/golden/stored_block.json")));
  return *golden;
}

Bytes FromHex(const nlohmann::json& hex) {
  const auto text = hex.get<std::string>();
  Bytes bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

template <typename T = float>
std::vector<T> ValuesFromHex(const nlohmann::json& hex) {
  const Bytes bytes = FromHex(hex);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<float> Dequantize(TensorType type, const Bytes& row) {
  const TensorTypeTraits traits = Traits(type);
  std::vector<float> values(row.size() / traits.block_bytes * traits.block_elements);
  DequantizeRow(type, row.data(), values.size(), values.data());
  return values;
}

Bytes Quantize(WeightFormat format, const std::vector<float>& values) {
  Bytes row(StoredRowBytes(format, values.size()));
  QuantizeRow(format, values.data(), values.size(), row.data());
  return row;
}

Bytes GoldenRow(TensorType type) {
  return FromHex(Golden()["dequantize"][std::string(Traits(type).name)]["row"]);
}

TEST(StoredBlockTest, DequantisesEveryTypeAsGgufDoes) {
  for (const TensorType type : kTypes) {
    const auto& golden = Golden()["dequantize"][std::string(Traits(type).name)];
    EXPECT_EQ(Dequantize(type, FromHex(golden["row"])), ValuesFromHex(golden["values"]))
        << Traits(type).name;
  }
}

TEST(StoredBlockTest, QuantisesToTheBytesOfGguf) {
  const auto& golden = Golden()["quantize"];
  const std::vector<float> values = ValuesFromHex(golden["values"]);
  for (const WeightFormat format :
       {WeightFormat::kBF16, WeightFormat::kQ8_0, WeightFormat::kQ4_1}) {
    const std::string name(Traits(StoredType(format)).name);
    EXPECT_EQ(Quantize(format, values), FromHex(golden[name])) << name;
  }
}

TEST(StoredBlockTest, KeepsF32) {
  const std::vector<float> values = {1, -0.0f, 1e-40f, 3.14159f};
  EXPECT_EQ(Dequantize(TensorType::kF32, Quantize(WeightFormat::kF32, values)), values);
}

// A weight that is not a number must not turn into one.
TEST(StoredBlockTest, KeepsABlockWithoutNumbersFromTurningIntoNumbers) {
  for (const WeightFormat format : {WeightFormat::kQ8_0, WeightFormat::kQ4_1}) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> values(64, 0.5f);
      values[40] = bad;
      const std::vector<float> result = Dequantize(StoredType(format), Quantize(format, values));
      for (int i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(result[i]), i >= 32) << i;
    }
  }
  const Bytes nan = Quantize(WeightFormat::kBF16, {NAN, std::bit_cast<float>(0x7f800001)});
  EXPECT_THAT(Dequantize(TensorType::kBF16, nan), Each(::testing::IsNan()));
}

TEST(StoredBlockTest, ConvertsQ4_0ToQ4_1Exactly) {
  const Bytes row = GoldenRow(TensorType::kQ4_0);
  Bytes converted(StoredRowBytes(WeightFormat::kQ4_1, 512));

  ConvertRow({TensorType::kQ4_0, WeightFormat::kQ4_1, row.data(), 512}, converted.data());

  EXPECT_EQ(Dequantize(TensorType::kQ4_1, converted), Dequantize(TensorType::kQ4_0, row));
}

TEST(StoredBlockTest, ConvertsEveryTypeToEveryFormat) {
  for (const TensorType type : kTypes) {
    const Bytes row = GoldenRow(type);
    for (const WeightFormat format : kFormats) {
      if (type == TensorType::kQ4_0 && format == WeightFormat::kQ4_1) continue;  // above
      Bytes converted(StoredRowBytes(format, 512));
      ConvertRow({type, format, row.data(), 512}, converted.data());

      const Bytes expected =
          StoredType(format) == type ? row : Quantize(format, Dequantize(type, row));
      EXPECT_EQ(converted, expected) << Traits(type).name << " to format " << int(format);
    }
  }
}

TEST(StoredBlockTest, ConvertsRowsThatEndInsideAChunk) {
  std::vector<float> values(3 * 256 + 33);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.37f * i - 50;
  Bytes row(values.size() * 4), converted(values.size() * 2);
  std::memcpy(row.data(), values.data(), row.size());

  ConvertRow({TensorType::kF32, WeightFormat::kBF16, row.data(), std::ssize(values)},
             converted.data());

  EXPECT_EQ(converted, Quantize(WeightFormat::kBF16, values));
}

TEST(StoredBlockTest, ChoosesTheFormatThatKeepsTheTensor) {
  EXPECT_EQ(StoredFormat(TensorType::kF32), WeightFormat::kF32);
  EXPECT_EQ(StoredFormat(TensorType::kF16), WeightFormat::kF32);
  EXPECT_EQ(StoredFormat(TensorType::kBF16), WeightFormat::kBF16);
  EXPECT_EQ(StoredFormat(TensorType::kQ4_0), WeightFormat::kQ4_1);
  EXPECT_EQ(StoredFormat(TensorType::kQ4_1), WeightFormat::kQ4_1);
  EXPECT_EQ(StoredFormat(TensorType::kQ5_0), WeightFormat::kQ8_0);
  EXPECT_EQ(StoredFormat(TensorType::kQ5_1), WeightFormat::kQ8_0);
  EXPECT_EQ(StoredFormat(TensorType::kQ8_0), WeightFormat::kQ8_0);
  EXPECT_EQ(StoredFormat(TensorType::kQ6_K), WeightFormat::kQ8_0);
}

TEST(Float16Test, RoundsAsNumpyDoes) {
  const std::vector<float> values = ValuesFromHex(Golden()["f16"]["values"]);
  const auto halves = ValuesFromHex<uint16_t>(Golden()["f16"]["halves"]);
  ASSERT_EQ(values.size(), halves.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(F16FromF32(values[i]), halves[i]) << values[i];
  }
}

TEST(Float16Test, KeepsEveryValueOfSixteenBits) {
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const float half = F32FromF16(bits), bf16 = F32FromBF16(bits);
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(F32FromF16(F16FromF32(half))));
    } else {
      EXPECT_EQ(F16FromF32(half), bits);
    }
    if (std::isnan(bf16)) {
      EXPECT_TRUE(std::isnan(F32FromBF16(BF16FromF32(bf16))));
    } else {
      EXPECT_EQ(BF16FromF32(bf16), bits);
    }
  }
}

}  // namespace
}  // namespace peerage::kernels
