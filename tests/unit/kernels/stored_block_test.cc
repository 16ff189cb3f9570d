#include "model/kernels/stored_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

TEST(StoredBlockTest, RoundsToBF16AsGgufDoes) {
  const auto& golden = Golden()["quantize"];
  EXPECT_EQ(Quantize(WeightFormat::kBF16, ValuesFromHex(golden["values"])),
            FromHex(golden["bf16"]));
}

// The root of the mean square, in double.
double RootMeanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double(a[i]) - double(b[i]), 2);
  return std::sqrt(sum / a.size());
}

std::vector<float> NormalValues(size_t count, float magnitude) {
  std::mt19937 random(20260101);
  std::normal_distribution<float> normal(0, magnitude);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// gguf divides by the scale before that is rounded.
TEST(StoredBlockTest, QuantisesNoWorseThanGguf) {
  const auto& golden = Golden()["quantize"];
  const std::vector<float> values = ValuesFromHex(golden["values"]);
  for (const WeightFormat format : {WeightFormat::kQ8_0, WeightFormat::kQ4_1}) {
    const TensorType type = StoredType(format);
    const Bytes ours = Quantize(format, values), theirs = FromHex(golden[Traits(type).name]);
    for (size_t block = 0; block < values.size() / kBlock; ++block) {
      const size_t bytes = Traits(type).block_bytes;
      const auto error = [&](const Bytes& row) {
        const auto begin = row.begin() + block * bytes;
        return RootMeanSquare(
            Dequantize(type, Bytes(begin, begin + bytes)),
            {values.begin() + block * kBlock, values.begin() + (block + 1) * kBlock});
      };
      EXPECT_LE(error(ours), 1.01 * error(theirs)) << Traits(type).name << " block " << block;
    }
  }
}

// Half a step of the least scale, 2^-24, limits what is small.
TEST(StoredBlockTest, IsOffByTwiceWhatItsBitsAllowAtMostAtEveryMagnitude) {
  const struct {
    WeightFormat format;
    double half_step;  // of a block from -1 to 1
  } formats[] = {{WeightFormat::kQ8_0, 0.5 / 127}, {WeightFormat::kQ4_1, 1.0 / 15}};
  for (const auto& [format, half_step] : formats) {
    for (double magnitude = 1e-8; magnitude < 6.1e4; magnitude *= std::sqrt(10)) {
      const std::vector<float> values = NormalValues(32, static_cast<float>(magnitude / 3));
      Bytes row(StoredRowBytes(format, 32));

      const RoundingLoss loss = QuantizeRow(format, values.data(), 32, row.data());

      const std::vector<float> result = Dequantize(StoredType(format), row);
      const double error = std::abs(*std::max_element(result.begin(), result.end()) -
                                    double(*std::max_element(values.begin(), values.end())));
      EXPECT_EQ(loss.overflown, 0) << magnitude;
      if (loss.vanished > 0) {
        EXPECT_LT(loss.largest, format == WeightFormat::kQ8_0 ? 127 * 0x1p-25 : 0x1p-21);
        EXPECT_EQ(loss.vanished, loss.largest);
        continue;
      }
      EXPECT_LE(error, 2.02 * half_step * loss.largest) << magnitude;
      EXPECT_LE(RootMeanSquare(values, result), 2.02 * half_step * loss.largest) << magnitude;
    }
  }
}

// With the scale as it was before it was rounded, it would be 9e-7.
TEST(StoredBlockTest, IsAThirdAsFarOffWithTheStoredScale) {
  const std::vector<float> values = NormalValues(32 * 256, 1e-4f / 3);
  const std::vector<float> result =
      Dequantize(TensorType::kQ8_0, Quantize(WeightFormat::kQ8_0, values));

  EXPECT_LT(RootMeanSquare(values, result), 2.5e-7);
}

TEST(StoredBlockTest, SaysWhatItsFormatsCannotHold) {
  const auto loss_of = [](TensorType type, float value) {
    std::vector<float> values(64, 0.0f);
    values[33] = value;
    Bytes row(RowBytes(type, 64));
    return QuantizeRow(type, values.data(), 64, row.data());
  };
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_1}) {
    EXPECT_EQ(loss_of(type, -1e-8f).vanished, 1e-8f);
    EXPECT_EQ(loss_of(type, -1e-45f).vanished, 1e-45f);
    EXPECT_EQ(loss_of(type, -1e-5f).vanished, 0);
    EXPECT_EQ(loss_of(type, 0).vanished, 0);
    EXPECT_EQ(loss_of(type, -6e4f).overflown, 0);
    EXPECT_EQ(loss_of(type, -6e4f).largest, 6e4f);
    EXPECT_EQ(loss_of(type, -9e6f).overflown, 9e6f);
  }
  EXPECT_EQ(loss_of(TensorType::kQ4_1, -65520.0f).overflown, 65520.0f);  // the minimum is an f16
  EXPECT_EQ(loss_of(TensorType::kF16, 65520.0f).overflown, 65520.0f);
  EXPECT_EQ(loss_of(TensorType::kF16, -65519.0f).overflown, 0);
  EXPECT_EQ(loss_of(TensorType::kBF16, 3.4e38f).overflown, 3.4e38f);
  EXPECT_EQ(loss_of(TensorType::kBF16, INFINITY).overflown, 0);
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
