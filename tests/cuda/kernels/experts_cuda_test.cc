#include "model/kernels/experts_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "model/kernels/expert_record.h"
#include "model/kernels/float16.h"
#include "model/kernels/product_keys_cuda.h"
#include "tests/cuda/support/device_array.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr ExpertFormat kFormats[] = {ExpertFormat::kF32, ExpertFormat::kBF16, ExpertFormat::kInt8,
                                     ExpertFormat::kInt4, ExpertFormat::kFp8};
constexpr ExpertKind kKinds[] = {ExpertKind::kNeuron, ExpertKind::kGatedNeuron, ExpertKind::kValue};
constexpr double kUnit = 0x1p-24;

struct Shape {
  ExpertFormat format = ExpertFormat::kBF16;
  ExpertKind kind = ExpertKind::kNeuron;
  int width = 64;
  int heads = 3;
  int top_k = 5;
  Activation activation = Activation::kGelu;
  DeviceFloat x_type = DeviceFloat::kBF16;
  int num_experts = 20;
  int count = 3;
  int x_gap = 4;  // between the rows of x

  size_t x_stride() const { return width + x_gap; }
  size_t picks() const { return size_t(heads) * top_k; }
};

std::string Describe(const Shape& s) {
  constexpr const char* kFormatNames[] = {"f32", "bf16", "int8", "int4", "fp8"};
  constexpr const char* kKindNames[] = {"neuron", "gated neuron", "value"};
  return std::string(kFormatNames[static_cast<int>(s.format)]) + " " +
         kKindNames[static_cast<int>(s.kind)] + ", width " + std::to_string(s.width) + ", " +
         std::to_string(s.heads) + " heads of " + std::to_string(s.top_k) + ", activation " +
         std::to_string(static_cast<int>(s.activation)) + ", x " +
         (s.x_type == DeviceFloat::kF32 ? "f32" : "bf16") + ", gap " + std::to_string(s.x_gap);
}

std::vector<uint16_t> Bf16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(BF16FromF32(v));
  return bits;
}

// Experts and the picks of some tokens, on both sides.
struct Layer {
  explicit Layer(const Shape& shape)
      : shape(shape),
        x(RandomValues(shape.count * shape.x_stride(), 1)),
        weights(RandomValues(shape.picks() * shape.count, 2)),
        ids(weights.size()),
        table{shape.format, shape.kind, shape.width, shape.num_experts, nullptr},
        records(table.Bytes()) {
    for (int t = 0; t < shape.count; ++t) {
      float* row = &x[t * shape.x_stride()];
      if (shape.x_type == DeviceFloat::kBF16) {
        for (int i = 0; i < shape.width; ++i) row[i] = F32FromBF16(BF16FromF32(row[i]));
      }
      for (int i = shape.width; i < int(shape.x_stride()); ++i) row[i] = kNan;  // nobody's
    }
    for (int v = 0; v < table.vectors(); ++v) {
      const float scale = v + 1 < table.vectors() ? 1 / std::sqrt(float(shape.width)) : 1;
      const std::vector<float> rows =
          RandomValues(size_t(shape.num_experts) * shape.width, 3 + v, scale);
      PackExperts({table, v, 0, shape.num_experts, rows.data()}, records.data());
    }
    std::mt19937 random(9);
    for (uint32_t& id : ids) id = random() % shape.num_experts;
    if (ids.size() > 2) ids[2] = ids[0];  // twice the same
  }

  std::vector<float> Run(cudaStream_t stream, int first = 0, int count = -1) const {
    if (count < 0) count = shape.count - first;
    const DeviceArray<uint8_t> table_bytes(records);
    const DeviceArray<float> x32(x);
    const DeviceArray<uint16_t> x16(Bf16(x));
    const DeviceArray<uint32_t> picks(ids);
    const DeviceArray<float> factors(weights);
    const size_t size = size_t(count) * shape.heads * shape.width;
    const DeviceArray<float> partials(size + 8, -7.0f);
    ExpertArgs args{.table = table,
                    .activation = shape.activation,
                    .heads = shape.heads,
                    .top_k = shape.top_k,
                    .x_type = shape.x_type,
                    .x_stride = shape.x_stride(),
                    .ids = picks.data() + first * shape.picks(),
                    .weights = factors.data() + first * shape.picks(),
                    .partials = partials.data(),
                    .count = count};
    args.table.records = table_bytes.data();
    const size_t start = first * shape.x_stride();
    args.x = shape.x_type == DeviceFloat::kF32 ? static_cast<const void*>(x32.data() + start)
                                               : x16.data() + start;
    EXPECT_EQ(RunExperts(args, stream), cudaSuccess) << Describe(shape);
    std::vector<float> result = partials.Read();
    for (size_t i = size; i < result.size(); ++i) EXPECT_EQ(result[i], -7) << Describe(shape);
    result.resize(size);
    return result;
  }

  // The heads' sums one by one: as many tokens of one head.
  std::vector<float> Reference() const {
    ExpertTable host = table;
    host.records = records.data();
    std::vector<float> rows, y(size_t(shape.count) * shape.heads * shape.width);
    std::vector<uint32_t> used = ids;
    std::vector<float> factors = weights;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == kNoExpert) used[i] = 0, factors[i] = 0;
    }
    for (int row = 0; row < shape.count * shape.heads; ++row) {
      const float* token = &x[row / shape.heads * shape.x_stride()];
      rows.insert(rows.end(), token, token + shape.width);
    }
    AddExpertsReference({.table = host,
                         .activation = shape.activation,
                         .heads = 1,
                         .top_k = shape.top_k,
                         .x = rows.data(),
                         .x_stride = size_t(shape.width),
                         .ids = used.data(),
                         .weights = factors.data(),
                         .y = y.data(),
                         .y_stride = size_t(shape.width)},
                        0, shape.count * shape.heads);
    return y;
  }

  std::vector<float> Unpacked(int64_t expert, int vector) const {
    ExpertTable host = table;
    host.records = records.data();
    std::vector<float> out(shape.width);
    UnpackExpert(host, expert, vector, out.data());
    return out;
  }

  Shape shape;
  std::vector<float> x, weights;
  std::vector<uint32_t> ids;
  ExpertTable table;
  std::vector<uint8_t> records;
};

double Norm(const float* v, int n) { return std::sqrt(std::inner_product(v, v + n, v, 0.0)); }

// What rounding may do to the sums of a (token, head). A dot errs by a few units in the last place
// of the product of norms: a lane adds at most width / 32 products, then lanes are added by pairs.
// An activation errs by 1e-6 (and its slope is below 1.2), the sum over picks by a unit for each.
double Tolerance(const Layer& layer, int row) {
  const Shape& shape = layer.shape;
  const double x = Norm(&layer.x[row / shape.heads * shape.x_stride()], shape.width);
  double total = 0;
  for (size_t p = size_t(row) * shape.top_k; p < size_t(row + 1) * shape.top_k; ++p) {
    if (layer.ids[p] == kNoExpert) continue;
    double factor = 1, error = 0;
    for (int v = 0; v + 1 < layer.table.vectors(); ++v) {
      const double bound = x * Norm(layer.Unpacked(layer.ids[p], v).data(), shape.width);
      double dot_error = (shape.width / 32.0 + 8) * kUnit * bound;
      if (v == 0) dot_error = 1.2 * dot_error + 1e-6;
      error = error * (bound + 1) + factor * dot_error;
      factor *= bound + 1;
    }
    double most = 0;
    for (const float f : layer.Unpacked(layer.ids[p], layer.table.vectors() - 1)) {
      most = std::max<double>(most, std::abs(f));
    }
    const double roundings = (4.0 + shape.top_k) * kUnit;
    total += std::abs(layer.weights[p]) * most * (error + factor * roundings);
  }
  return total + 1e-9;
}

class ExpertsCudaTest : public CudaTest {
 protected:
  void ExpectNearReference(const Layer& layer) {
    const std::vector<float> expected = layer.Reference(), got = layer.Run(stream_);
    const int width = layer.shape.width;
    for (int row = 0; row < layer.shape.count * layer.shape.heads; ++row) {
      const double tolerance = Tolerance(layer, row);
      for (int i = 0; i < width; ++i) {
        ASSERT_NEAR(got[size_t(row) * width + i], expected[size_t(row) * width + i], tolerance)
            << Describe(layer.shape) << ", row " << row << ", output " << i;
      }
    }
  }
};

template <typename Check>
void ForEachFormatAndKind(const Check& check) {
  for (const ExpertFormat format : kFormats) {
    for (const ExpertKind kind : kKinds) check(Shape{.format = format, .kind = kind});
  }
}

TEST_F(ExpertsCudaTest, AgreeWithTheReferenceAtEveryWidth) {
  ForEachFormatAndKind([&](Shape shape) {
    for (const int width : {1, 7, 31, 33, 64, 97, 576, 1024}) {
      shape.width = width;
      ExpectNearReference(Layer(shape));
    }
    // Several columns a thread, and more shared memory than a block has unasked.
    shape.heads = 1, shape.count = 1, shape.top_k = 3, shape.num_experts = 3;
    for (const int width : {4100, 13000}) {
      shape.width = width;
      ExpectNearReference(Layer(shape));
    }
  });
}

TEST_F(ExpertsCudaTest, AgreeWithTheReferenceForEveryNumberOfPicks) {
  ForEachFormatAndKind([&](Shape shape) {
    for (const int top_k : {1, 4, 16, 17, 128}) {
      for (const int heads : {1, 3}) {
        shape.top_k = top_k, shape.heads = heads, shape.width = 40, shape.count = 2;
        ExpectNearReference(Layer(shape));
      }
    }
  });
}

TEST_F(ExpertsCudaTest, AgreeWithTheReferenceForEveryActivationAndTypeOfX) {
  using enum Activation;
  for (const ExpertFormat format : kFormats) {
    for (const Activation activation : {kSilu, kGelu, kGeluTanh, kRelu}) {
      for (const DeviceFloat x_type : {DeviceFloat::kF32, DeviceFloat::kBF16}) {
        for (const int gap : {0, 3}) {  // rows that 16-byte loads can reach, and others
          ExpectNearReference(Layer({.format = format,
                                     .kind = ExpertKind::kGatedNeuron,
                                     .activation = activation,
                                     .x_type = x_type,
                                     .x_gap = gap}));
        }
      }
    }
  }
}

TEST_F(ExpertsCudaTest, AddNothingForPicksThatAreNone) {
  ForEachFormatAndKind([&](Shape shape) {
    shape.width = 100, shape.top_k = 19;
    Layer layer(shape);
    for (size_t i = 0; i < layer.ids.size(); i += 2) layer.ids[i] = kNoExpert;
    for (size_t i = 0; i < shape.picks(); ++i) layer.ids[shape.picks() + i] = kNoExpert;
    ExpectNearReference(layer);
    // Nor is anything read of a padded token.
    for (int i = 0; i < shape.width; ++i) layer.x[shape.x_stride() + i] = kNan;
    const std::vector<float> sums = layer.Run(stream_);
    for (int i = 0; i < shape.heads * shape.width; ++i) {
      ASSERT_EQ(sums[size_t(shape.heads) * shape.width + i], 0) << Describe(shape);
    }
  });
}

TEST_F(ExpertsCudaTest, GiveTheSameBitsAloneAndInABatch) {
  ForEachFormatAndKind([&](Shape shape) {
    for (const int width : {33, 516}) {
      shape.width = width, shape.count = 5, shape.top_k = 17;
      const Layer layer(shape);
      const std::vector<float> together = layer.Run(stream_);
      const size_t row = size_t(shape.heads) * width;
      for (const int first : {0, 3}) {
        const std::vector<float> alone = layer.Run(stream_, first, 1);
        EXPECT_EQ(std::memcmp(alone.data(), &together[first * row], row * sizeof(float)), 0)
            << Describe(shape);
      }
    }
  });
}

TEST_F(ExpertsCudaTest, DoNothingForNoTokens) {
  ForEachFormatAndKind([&](const Shape& shape) {
    EXPECT_TRUE(Layer(shape).Run(stream_, 1, 0).empty());  // what lies behind is looked at there
  });
}

TEST_F(ExpertsCudaTest, TurnATokenWithNanOrInfinityIntoNanAndNoOther) {
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    ForEachFormatAndKind([&](Shape shape) {
      shape.activation = Activation::kRelu;  // of minus infinity it is a number
      for (const int width : {40, 97}) {
        shape.width = width;
        Layer layer(shape);
        const std::vector<float> before = layer.Run(stream_);
        layer.x[shape.x_stride() + width - 1] = bad;
        const std::vector<float> after = layer.Run(stream_);
        const size_t row = size_t(shape.heads) * width;
        for (size_t i = 0; i < after.size(); ++i) {
          if (shape.kind != ExpertKind::kValue && i / row == 1) {
            ASSERT_TRUE(std::isnan(after[i])) << Describe(shape) << ", output " << i;
          } else {
            ASSERT_EQ(after[i], before[i]) << Describe(shape) << ", output " << i;
          }
        }
      }
    });
  }
}

TEST_F(ExpertsCudaTest, SpreadNansOfWeightsAndRecordsEvenAtWeightZero) {
  ForEachFormatAndKind([&](Shape shape) {
    shape.heads = 2, shape.top_k = 2, shape.count = 1, shape.width = 70;
    Layer layer(shape);
    layer.ids = {0, 1, 2, 3};
    std::vector<float> row(shape.width, 0.5f);
    row[69] = kNan;
    PackExperts({layer.table, layer.table.vectors() - 1, 3, 1, row.data()}, layer.records.data());
    layer.weights = {1, kNan, 1, 0};
    const std::vector<float> sums = layer.Run(stream_), expected = layer.Reference();
    for (size_t i = 0; i < sums.size(); ++i) {
      ASSERT_EQ(std::isnan(sums[i]), std::isnan(expected[i])) << Describe(shape) << ", " << i;
      ASSERT_TRUE(std::isnan(sums[i]) || int(i) >= shape.width) << Describe(shape);
    }
    EXPECT_TRUE(std::isnan(sums.back()));
  });
}

// A record far behind the first, whose offset 32 bits do not hold.
TEST_F(ExpertsCudaTest, ReachRecordsBeyondFourGibibytes) {
  Shape shape{.width = 64, .heads = 1, .top_k = 1, .count = 1};
  Layer layer(shape);
  layer.ids = {0};
  const std::vector<float> expected = layer.Run(stream_);
  const size_t record_bytes = layer.table.RecordBytes();
  const uint32_t far = (uint64_t{1} << 32) / record_bytes + 5;
  const DeviceArray<uint8_t> record(
      std::vector<uint8_t>(layer.records.begin(), layer.records.begin() + record_bytes));
  const DeviceArray<uint16_t> x(Bf16(layer.x));
  const DeviceArray<uint32_t> id(std::vector<uint32_t>{far});
  const DeviceArray<float> weight(layer.weights), partials(size_t{64});
  ExpertArgs args{.table = layer.table,
                  .heads = 1,
                  .top_k = 1,
                  .x = x.data(),
                  .x_stride = shape.x_stride(),
                  .ids = id.data(),
                  .weights = weight.data(),
                  .partials = partials.data(),
                  .count = 1};
  // Where the table would have to begin; nothing but the record is there.
  args.table.records = reinterpret_cast<const uint8_t*>(reinterpret_cast<uintptr_t>(record.data()) -
                                                        uint64_t{far} * record_bytes);
  ASSERT_EQ(RunExperts(args, stream_), cudaSuccess);
  EXPECT_EQ(partials.Read(), expected);
}

TEST_F(ExpertsCudaTest, ReadRecordsOnceInFullSectorsWithoutBankConflicts) {
  if (!standin::IsPresent()) GTEST_SKIP() << "a GPU does not count sectors for a test";
  ForEachFormatAndKind([&](Shape shape) {
    for (const int width : {512, 1024}) {
      shape.width = width, shape.heads = 2, shape.top_k = 16, shape.count = 1, shape.x_gap = 0;
      const Layer layer(shape);
      standin::ResetCounters();
      layer.Run(stream_);
      const standin::KernelCounters counters = standin::Counters("ExpertKernel");
      ASSERT_EQ(counters.launches, 1u);
      EXPECT_EQ(counters.bank_conflicts, 0u) << Describe(shape);
      const size_t picks = shape.picks();
      const size_t record =
          ExpertRecordLayout(layer.table).lines * kLineBytes * layer.table.vectors() * picks / 32;
      // An int4 warp reads the scales of a piece of 512 bytes from one line; int8 and fp8 have one
      // scale a vector, which is read by every warp that needs it.
      const size_t scales = shape.format == ExpertFormat::kInt4 ? record / 16 * 2 + record / 8
                            : HasVectorScale(shape.format)      ? picks * 8
                                                                : 0;
      const size_t x = shape.kind == ExpertKind::kValue ? 0 : shape.heads * width * 2 / 32;
      const size_t small = picks * 24;  // ids and weights, by each warp
      EXPECT_LE(counters.load_sectors, record + scales + x + small) << Describe(shape);
      EXPECT_GE(counters.load_sectors, record + x) << Describe(shape);
      EXPECT_EQ(counters.store_sectors, size_t(shape.heads) * width * 4 / 32) << Describe(shape);
    }
  });
}

TEST_F(ExpertsCudaTest, RefuseMorePicksThanABlockHolds) {
  EXPECT_EQ(RunExperts({.heads = 1, .top_k = kMaxTopK + 1, .count = 1}, stream_),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace peerage::kernels::cuda
