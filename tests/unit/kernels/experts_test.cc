#include "model/kernels/experts.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "model/kernels/expert_record.h"
#include "model/kernels/float16.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"
#include "tests/unit/kernels/aligned_bytes.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr ExpertFormat kFormats[] = {ExpertFormat::kF32, ExpertFormat::kBF16, ExpertFormat::kInt8,
                                     ExpertFormat::kInt4, ExpertFormat::kFp8};
constexpr ExpertKind kKinds[] = {ExpertKind::kNeuron, ExpertKind::kGatedNeuron, ExpertKind::kValue};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shape {
  ExpertFormat format = ExpertFormat::kF32;
  ExpertKind kind = ExpertKind::kNeuron;
  int width = 64;
  int heads = 3;
  int top_k = 5;
  Activation activation = Activation::kGelu;
  int num_experts = 50;
  int tokens = 3;
};

std::string Describe(const Shape& s) {
  constexpr const char* kFormatNames[] = {"f32", "bf16", "int8", "int4", "fp8"};
  constexpr const char* kKindNames[] = {"neuron", "gated neuron", "value"};
  return std::string(kFormatNames[static_cast<int>(s.format)]) + " " +
         kKindNames[static_cast<int>(s.kind)] + ", width " + std::to_string(s.width) + ", " +
         std::to_string(s.heads) + " heads of " + std::to_string(s.top_k) + ", activation " +
         std::to_string(static_cast<int>(s.activation));
}

// Experts and picks of some tokens.
class Layer {
 public:
  explicit Layer(const Shape& shape)
      : shape(shape),
        x(RandomValues(shape.tokens * x_stride(), 1)),
        weights(RandomValues(picks() * shape.tokens, 2)),
        ids(weights.size()) {
    table = {shape.format, shape.kind, shape.width, shape.num_experts, nullptr};
    records = Zeroed(table.Bytes());
    table.records = records.get();
    for (int v = 0; v < table.vectors(); ++v) {
      const float scale = v + 1 < table.vectors() ? 1 / std::sqrt(float(shape.width)) : 1;
      rows.push_back(RandomValues(size_t(shape.num_experts) * shape.width, 3 + v, scale));
    }
    Pack();
    std::mt19937 random(9);
    for (uint32_t& id : ids) id = random() % shape.num_experts;
  }

  // In two calls, as threads do.
  void Pack() {
    const int half = shape.num_experts / 2;
    for (int v = 0; v < table.vectors(); ++v) {
      PackExperts({table, v, 0, half, rows[v].data()}, records.get());
      PackExperts({table, v, half, shape.num_experts - half, &rows[v][size_t(half) * shape.width]},
                  records.get());
    }
  }

  size_t x_stride() const { return shape.width + 3; }
  size_t y_stride() const { return shape.width + 2; }
  size_t picks() const { return size_t(shape.heads) * shape.top_k; }

  ExpertArgs Args(std::vector<float>& y) const {
    return {.table = table,
            .activation = shape.activation,
            .heads = shape.heads,
            .top_k = shape.top_k,
            .x = x.data(),
            .x_stride = x_stride(),
            .ids = ids.data(),
            .weights = weights.data(),
            .y = y.data(),
            .y_stride = y_stride()};
  }

  // Something to add to, and something behind it that nobody may touch.
  std::vector<float> Initial() const {
    std::vector<float> y(shape.tokens * y_stride(), 0.25f);
    for (int t = 0; t < shape.tokens; ++t) {
      for (int i = shape.width; i < int(y_stride()); ++i) y[t * y_stride() + i] = -7.0f;
    }
    return y;
  }

  std::vector<float> Run(int step = 1000) const {
    std::vector<float> y = Initial();
    const AlignedBytes scratch = hwy::AllocateAligned<uint8_t>(ExpertScratchBytes(table));
    std::memset(scratch.get(), 0xff, ExpertScratchBytes(table));  // NaN
    for (int t = 0; t < shape.tokens; t += step) {
      AddExperts(Args(y), t, std::min(shape.tokens, t + step), scratch.get());
    }
    return y;
  }

  // As two threads do that share the heads of a token.
  std::vector<float> RunByHeads(int split) const {
    std::vector<float> y = Initial();
    const AlignedBytes scratch = hwy::AllocateAligned<uint8_t>(ExpertScratchBytes(table));
    for (int t = 0; t < shape.tokens; ++t) {
      std::vector<float> sums(size_t(shape.heads) * shape.width);
      ExpertHeads(Args(y), {t, 0, split}, sums.data(), scratch.get());
      ExpertHeads(Args(y), {t, split, shape.heads}, sums.data(), scratch.get());
      AddHeadSums(Args(y), t, sums.data());
    }
    return y;
  }

  std::vector<float> Reference() const {
    std::vector<float> y = Initial();
    AddExpertsReference(Args(y), 0, shape.tokens);
    return y;
  }

  std::vector<float> Unpacked(int64_t expert, int vector) const {
    std::vector<float> out(shape.width);
    UnpackExpert(table, expert, vector, out.data());
    return out;
  }

  Shape shape;
  std::vector<float> x, weights;
  std::vector<uint32_t> ids;
  std::vector<std::vector<float>> rows;  // of each vector
  ExpertTable table;
  AlignedBytes records;
};

double Norm(const std::vector<float>& v) {
  double sum = 0;
  for (const float f : v) sum += double(f) * f;
  return std::sqrt(sum);
}

// What rounding may do to the outputs of a token. A dot errs by a few units in the last place of
// the sum of magnitudes, and in an integer format by the rounding of the token to 16 bits; an
// activation by 1e-6 (and its slope is below 1.2); the sum over picks by a unit for each.
double Tolerance(const Layer& layer, int token) {
  constexpr double kUnit = 0x1p-24;
  const int width = layer.shape.width;
  const std::vector<float> x(&layer.x[token * layer.x_stride()],
                             &layer.x[token * layer.x_stride()] + width);
  double largest = 0, total = 0;
  for (const float v : x) largest = std::max<double>(largest, std::abs(v));
  const bool integer =
      layer.shape.format == ExpertFormat::kInt8 || layer.shape.format == ExpertFormat::kInt4;
  for (size_t p = token * layer.picks(); p < (token + 1) * layer.picks(); ++p) {
    double factor = 1, error = 0;
    for (int v = 0; v + 1 < layer.table.vectors(); ++v) {
      const std::vector<float> w = layer.Unpacked(layer.ids[p], v);
      double dot_error = (width / 16.0 + 8) * kUnit * Norm(x) * Norm(w);
      if (integer) dot_error += largest / 65000 * Norm(w) * std::sqrt(width);
      if (v == 0) dot_error = 1.2 * dot_error + 1e-6;
      const double bound = Norm(x) * Norm(w) + 1;
      error = error * bound + factor * dot_error;
      factor *= bound;
    }
    double most = 0;
    for (const float f : layer.Unpacked(layer.ids[p], layer.table.vectors() - 1)) {
      most = std::max<double>(most, std::abs(f));
    }
    const double roundings = (4.0 + layer.picks()) * kUnit;
    total += std::abs(layer.weights[p]) * most * (error + factor * roundings);
  }
  return total + 1e-6;
}

void ExpectNearReference(const Layer& layer) {
  const std::vector<float> expected = layer.Reference(), y = layer.Run();
  for (int t = 0; t < layer.shape.tokens; ++t) {
    const double tolerance = Tolerance(layer, t);
    for (int i = 0; i < int(layer.y_stride()); ++i) {
      const size_t at = t * layer.y_stride() + i;
      ASSERT_NEAR(y[at], expected[at], i < layer.shape.width ? tolerance : 0)
          << Describe(layer.shape) << ", token " << t << ", output " << i;
    }
  }
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

template <typename Check>
void ForEachFormatAndKind(const Check& check) {
  for (const ExpertFormat format : kFormats) {
    for (const ExpertKind kind : kKinds) check(Shape{.format = format, .kind = kind});
  }
}

TEST(ExpertsTest, AgreeWithTheReferenceAtEveryWidth) {
  ForEachFormatAndKind([](Shape shape) {
    for (const int width : {1, 7, 31, 32, 33, 64, 100, 576, 1024, 4100}) {
      shape.width = width;
      ExpectNearReference(Layer(shape));
    }
  });
}

TEST(ExpertsTest, AgreeWithTheReferenceForEveryNumberOfPicks) {
  ForEachFormatAndKind([](Shape shape) {
    for (const int top_k : {1, 3, 4, 5, 16, 17, 128}) {
      for (const int heads : {1, 3, 8}) {
        shape.top_k = top_k, shape.heads = heads, shape.width = 40;
        ExpectNearReference(Layer(shape));
      }
    }
  });
}

TEST(ExpertsTest, AgreeWithTheReferenceForEveryActivation) {
  using enum Activation;
  ForEachFormatAndKind([](Shape shape) {
    for (const Activation activation : {kSilu, kGelu, kGeluTanh, kRelu}) {
      shape.activation = activation;
      ExpectNearReference(Layer(shape));
    }
  });
}

// 30 GiB of it, of which a few pages exist.
TEST(ExpertsTest, ReachRecordsBeyondFourGibibytes) {
  ForEachFormatAndKind([](Shape shape) {
    shape.width = 300;
    Layer layer(shape);
    ExpertTable& table = layer.table;
    table.num_experts = (int64_t{30} << 30) / table.RecordBytes();
    void* memory = mmap(nullptr, table.Bytes(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    table.records = static_cast<uint8_t*>(memory);
    const int64_t first = table.num_experts - shape.num_experts;
    for (int v = 0; v < table.vectors(); ++v) {
      PackExperts({table, v, first, shape.num_experts, layer.rows[v].data()},
                  static_cast<uint8_t*>(memory));
    }
    Layer small(shape);
    for (uint32_t& id : layer.ids) id += first;
    EXPECT_EQ(layer.Unpacked(first + 3, 0), small.Unpacked(3, 0));
    EXPECT_TRUE(SameBits(layer.Run(), small.Run())) << Describe(shape);
    munmap(memory, table.Bytes());
  });
}

TEST(ExpertsTest, GiveTheSameBitsForEveryInstructionSet) {
  ForEachFormatAndKind([](Shape shape) {
    for (const int width : {1, 33, 100, 1024, 5000}) {
      for (const int top_k : {1, 17}) {
        shape.width = width, shape.top_k = top_k, shape.tokens = 2;
        const Layer layer(shape);
        const std::vector<float> expected = layer.Run();
        for (const int64_t target : KernelTargets()) {
          const ScopedKernelTarget scoped(target);
          Layer other(shape);
          EXPECT_EQ(std::memcmp(other.records.get(), layer.records.get(), layer.table.Bytes()), 0)
              << Describe(shape) << ": packing for " << hwy::TargetName(target);
          EXPECT_TRUE(SameBits(other.Run(), expected))
              << Describe(shape) << ", " << hwy::TargetName(target);
          EXPECT_TRUE(SameBits(other.RunByHeads(1), expected))
              << Describe(shape) << ", by heads, " << hwy::TargetName(target);
        }
      }
    }
  });
}

TEST(ExpertsTest, GiveTheSameBitsHoweverTokensAndHeadsAreSplit) {
  ForEachFormatAndKind([](Shape shape) {
    shape.width = 130, shape.top_k = 7, shape.tokens = 9;
    const Layer layer(shape);
    const std::vector<float> expected = layer.Run();
    for (const int step : {1, 2, 4, 9}) EXPECT_TRUE(SameBits(layer.Run(step), expected)) << step;
    for (const int split : {0, 1, 2, 3}) {
      EXPECT_TRUE(SameBits(layer.RunByHeads(split), expected)) << Describe(shape) << split;
    }
  });
}

TEST(ExpertsTest, CountAnExpertAsOftenAsItWasPicked) {
  ForEachFormatAndKind([](Shape shape) {
    shape.heads = 1, shape.top_k = 1, shape.tokens = 1;
    Layer once(shape);
    shape.heads = 4;
    Layer often(shape);
    often.x = once.x;
    for (uint32_t& id : often.ids) id = once.ids[0];
    for (float& weight : often.weights) weight = once.weights[0];
    const std::vector<float> y = often.Run(), y1 = once.Run();
    for (int i = 0; i < shape.width; ++i) EXPECT_NEAR(y[i] - 0.25f, 4 * (y1[i] - 0.25f), 1e-5);
  });
}

TEST(ExpertsTest, DoNothingForNoTokens) {
  ForEachFormatAndKind([](Shape shape) {
    const Layer layer(shape);
    std::vector<float> y = layer.Initial();
    const AlignedBytes scratch = hwy::AllocateAligned<uint8_t>(ExpertScratchBytes(layer.table));
    AddExperts(layer.Args(y), 1, 1, scratch.get());
    EXPECT_EQ(y, layer.Initial());
  });
}

TEST(ExpertsTest, TurnATokenOfZerosIntoZeros) {
  ForEachFormatAndKind([](Shape shape) {
    if (shape.kind == ExpertKind::kValue) return;
    Layer layer(shape);
    std::fill(layer.x.begin(), layer.x.end(), 0.0f);
    EXPECT_EQ(layer.Run(), layer.Initial());
  });
}

TEST(ExpertsTest, TurnATokenWithNanOrInfinityIntoNanAndNoOther) {
  using enum Activation;
  ForEachFormatAndKind([](Shape shape) {
    if (shape.kind == ExpertKind::kValue) return;
    for (const Activation activation : {kSilu, kGelu, kGeluTanh, kRelu}) {
      for (const float bad : {kNan, kInfinity, -kInfinity}) {
        shape.activation = activation;
        Layer layer(shape);
        const std::vector<float> good = layer.Run();
        layer.x[1 * layer.x_stride() + shape.width - 1] = bad;
        const std::vector<float> reference = layer.Reference();
        for (const int64_t target : KernelTargets()) {
          const ScopedKernelTarget scoped(target);
          const std::vector<float> y = layer.Run();
          for (size_t i = 0; i < y.size(); ++i) {
            const size_t t = i / layer.y_stride(), output = i % layer.y_stride();
            const bool nan = t == 1 && output < size_t(shape.width);
            ASSERT_EQ(std::isnan(reference[i]), nan) << Describe(shape) << ", " << i;
            ASSERT_EQ(std::isnan(y[i]), nan) << Describe(shape) << ", " << i;
            if (t != 1) {
              ASSERT_EQ(y[i], good[i]);
            }
          }
        }
      }
    }
  });
}

TEST(ExpertsTest, LetANanInAWeightThrough) {
  ForEachFormatAndKind([](Shape shape) {
    for (const bool in_table : {false, true}) {
      Layer layer(shape);
      if (in_table) {
        layer.rows[0][size_t(layer.ids[0]) * shape.width + 3] = kNan;
        layer.Pack();
      } else {
        layer.weights[0] = kNan;
      }
      EXPECT_TRUE(std::isnan(layer.Run()[3])) << Describe(shape) << in_table;
    }
  });
}

// Only the picked record is touched by the NaN.
TEST(ExpertsTest, KeepANanToItsRecord) {
  ForEachFormatAndKind([](Shape shape) {
    Layer layer(shape);
    const std::vector<float> before = layer.Unpacked(4, 0);
    layer.rows[0][5 * shape.width] = kInfinity;
    layer.Pack();
    EXPECT_EQ(layer.Unpacked(4, 0), before);
    EXPECT_FALSE(std::isfinite(layer.Unpacked(5, 0)[0]));
  });
}

TEST(ExpertsTest, AcceptActivationsOfAnySize) {
  ForEachFormatAndKind([](Shape shape) {
    for (const float scale : {1e-44f, 1e-38f, 1e-20f, 1e10f}) {
      Layer layer(shape);
      for (float& v : layer.x) v *= scale;
      const std::vector<float> y = layer.Run(), expected = layer.Reference();
      for (size_t i = 0; i < y.size(); ++i) {
        const double size = shape.kind == ExpertKind::kGatedNeuron ? double(scale) * scale : scale;
        ASSERT_NEAR(y[i], expected[i], 1e-3 * size + 1e-5) << Describe(shape) << scale;
      }
    }
  });
}

TEST(ExpertRecordTest, IsAlignedAndNoLargerThanItsFormatNeeds) {
  ForEachFormatAndKind([](const Shape& shape) {
    for (const int width : {1, 64, 100, 576, 1024, 16384}) {
      const ExpertTable table{shape.format, shape.kind, width, 1, nullptr};
      EXPECT_EQ(table.RecordBytes() % 64, 0u);
    }
  });
  const auto bytes = [](ExpertFormat format, int width) {
    return ExpertTable{format, ExpertKind::kNeuron, width, 1, nullptr}.RecordBytes();
  };
  EXPECT_EQ(bytes(ExpertFormat::kF32, 1024), 8192u);
  EXPECT_EQ(bytes(ExpertFormat::kBF16, 1024), 4096u);
  EXPECT_EQ(bytes(ExpertFormat::kInt8, 1024), 2048u + 64);
  EXPECT_EQ(bytes(ExpertFormat::kFp8, 1024), 2048u + 64);
  EXPECT_EQ(bytes(ExpertFormat::kInt4, 1024), 1024u + 128);
  EXPECT_EQ(bytes(ExpertFormat::kInt4, 64), 64u + 128);
}

TEST(ExpertRecordTest, KeepsF32AndRoundsBf16ToNearestEven) {
  Shape shape{.format = ExpertFormat::kF32, .width = 77};
  const Layer f32(shape);
  shape.format = ExpertFormat::kBF16;
  const Layer bf16(shape);
  for (int v = 0; v < 2; ++v) {
    for (int e = 0; e < shape.num_experts; ++e) {
      const std::vector<float> exact = f32.Unpacked(e, v), rounded = bf16.Unpacked(e, v);
      for (int i = 0; i < shape.width; ++i) {
        ASSERT_EQ(exact[i], f32.rows[v][e * shape.width + i]);
        ASSERT_EQ(rounded[i], F32FromBF16(BF16FromF32(exact[i])));
      }
    }
  }
}

TEST(ExpertRecordTest, RoundsInt8ToHalfAStep) {
  for (const int width : {1, 31, 100, 1024}) {
    const Layer layer({.format = ExpertFormat::kInt8, .width = width});
    for (int e = 0; e < layer.shape.num_experts; ++e) {
      const std::vector<float> row(&layer.rows[0][e * width], &layer.rows[0][e * width] + width);
      const std::vector<float> stored = layer.Unpacked(e, 0);
      float largest = 0;
      for (const float v : row) largest = std::max(largest, std::abs(v));
      for (int i = 0; i < width; ++i) {
        ASSERT_NEAR(stored[i], row[i], largest / 127 * 0.5001) << e << ", " << i;
      }
    }
  }
}

// The values of e4m3, in order; its two NaNs are left out.
std::vector<float> E4m3Values() {
  std::vector<float> values;
  for (int bits = 0; bits < 0x7f; ++bits) {
    const int exponent = bits >> 3, mantissa = bits & 7;
    const float value =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    EXPECT_EQ(F32FromE4M3(bits), value);
    EXPECT_EQ(F32FromE4M3(bits | 0x80), -value);
    values.push_back(value);
  }
  return values;
}

// Of the largest magnitude 448: every value of the format as it is, and what lies between two of
// them becomes the nearer one, or the one whose last bit is 0.
TEST(ExpertRecordTest, RoundsFp8ToTheNearestValueOfE4m3) {
  const std::vector<float> values = E4m3Values();
  std::vector<float> row, expected;
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const float step = values[i + 1] - values[i], even = values[i + i % 2];
    for (const auto& [x, rounded] : {std::pair{values[i], values[i]},
                                     {values[i] + step * 0.4375f, values[i]},
                                     {values[i] + step * 0.5f, even},
                                     {values[i] + step * 0.5625f, values[i + 1]}}) {
      row.insert(row.end(), {x, -x});
      expected.insert(expected.end(), {rounded, -rounded});
    }
  }
  row.push_back(448), expected.push_back(448);
  for (const float scale : {1.0f, 0x1p-90f, 0x1p100f}) {
    const int width = static_cast<int>(row.size());
    Layer layer({.format = ExpertFormat::kFp8, .width = width, .num_experts = 2});
    for (int i = 0; i < width; ++i) layer.rows[0][i] = row[i] * scale;
    layer.Pack();
    const std::vector<float> stored = layer.Unpacked(0, 0);
    for (int i = 0; i < width; ++i) ASSERT_EQ(stored[i], expected[i] * scale) << row[i];
  }
}

TEST(ExpertRecordTest, RoundsFp8ToASixteenthOfEachElement) {
  for (const int width : {1, 31, 100, 1024}) {
    const Layer layer({.format = ExpertFormat::kFp8, .width = width});
    for (int e = 0; e < layer.shape.num_experts; ++e) {
      const float* row = &layer.rows[0][e * width];
      const std::vector<float> stored = layer.Unpacked(e, 0);
      float largest = 0;
      for (int i = 0; i < width; ++i) largest = std::max(largest, std::abs(row[i]));
      for (int i = 0; i < width; ++i) {
        const float subnormal = largest / 448 * 0x1p-10f;
        ASSERT_NEAR(stored[i], row[i], std::max(std::abs(row[i]) / 16, subnormal) * 1.0001f);
      }
    }
  }
}

// Groups of 32 of a normal distribution: rounding to +-7 of the largest errs by 9.7 %, to the best
// grid of any offset by 8.1 %.
TEST(ExpertRecordTest, RoundsInt4BetterThanToTheLargestMagnitude) {
  const Layer layer({.format = ExpertFormat::kInt4, .width = 1024});
  double error = 0, total = 0;
  for (int e = 0; e < layer.shape.num_experts; ++e) {
    const std::vector<float> stored = layer.Unpacked(e, 1);
    for (int i = 0; i < 1024; ++i) {
      const double exact = layer.rows[1][e * 1024 + i];
      error += (stored[i] - exact) * (stored[i] - exact);
      total += exact * exact;
    }
  }
  EXPECT_LT(std::sqrt(error / total), 0.082);
}

// At worst a group's largest magnitude is 8.7 steps and occurs with the other sign too, where
// grids end at 7 steps: an error of 1.7 / 8.7 of it.
TEST(ExpertRecordTest, KeepsEveryInt4NearItsRow) {
  for (const int width : {1, 31, 100, 576, 1024}) {
    const Layer layer({.format = ExpertFormat::kInt4, .width = width});
    for (int e = 0; e < layer.shape.num_experts; ++e) {
      const float* row = &layer.rows[0][e * width];
      const std::vector<float> stored = layer.Unpacked(e, 0);
      for (int i = 0; i < width; ++i) {
        float largest = 0;  // of the group
        for (int j = i / 512 * 512 + i % 16; j < std::min(width, (i / 512 + 1) * 512); j += 16) {
          largest = std::max(largest, std::abs(row[j]));
        }
        ASSERT_NEAR(stored[i], row[i], largest * 0.2) << e << ", " << i;
      }
    }
  }
}

TEST(ExpertRecordTest, KeepsInt4GridsExactly) {
  Layer layer({.format = ExpertFormat::kInt4, .width = 1024});
  std::mt19937 random(3);
  for (size_t i = 0; i < layer.rows[0].size(); ++i) {
    const int step = i % 512 < 16 ? 0 : random() % 16;  // the first of each group is the largest
    layer.rows[0][i] = float(step - 8) * 0.125f;
  }
  layer.Pack();
  for (int e = 0; e < layer.shape.num_experts; ++e) {
    const std::vector<float> stored = layer.Unpacked(e, 0);
    for (int i = 0; i < 1024; ++i) ASSERT_EQ(stored[i], layer.rows[0][e * 1024 + i]);
  }
}

TEST(ExpertRecordTest, TurnsZerosAndDenormalsIntoZeros) {
  for (const ExpertFormat format : {ExpertFormat::kInt8, ExpertFormat::kInt4, ExpertFormat::kFp8}) {
    for (const float value : {0.0f, 1e-40f, -1e-42f}) {
      Layer layer({.format = format, .width = 100});
      std::fill(layer.rows[0].begin(), layer.rows[0].end(), value);
      layer.Pack();
      for (const float stored : layer.Unpacked(7, 0)) EXPECT_EQ(stored, 0.0f);
    }
  }
}

TEST(ExpertRecordTest, IsTheSameWhenPackedTwice) {
  ForEachFormatAndKind([](const Shape& shape) {
    Layer layer(shape);
    const std::vector<uint8_t> before(layer.records.get(),
                                      layer.records.get() + layer.table.Bytes());
    layer.Pack();
    EXPECT_EQ(std::memcmp(layer.records.get(), before.data(), before.size()), 0);
  });
}

}  // namespace
}  // namespace peerage::kernels
