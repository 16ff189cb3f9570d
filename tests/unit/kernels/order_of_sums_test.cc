// What process groups stand on (docs/adr/0008-the-order-of-sums-for-process-groups.md): an output
// column's bits do not depend on which other columns are computed with it, and an expert's scalar
// is computed whole, whichever experts are beside it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "model/kernels/attention.h"
#include "model/kernels/expert_record.h"
#include "model/kernels/experts.h"
#include "model/kernels/gated_activation.h"
#include "model/kernels/linear.h"
#include "model/kernels/stored_block.h"
#include "tests/support/random_values.h"
#include "tests/unit/kernels/aligned_bytes.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr int kTokens = 11;  // a panel of 8, of 2 and of 1
constexpr int kWidths[] = {1, 3, 31, 33, 97, 257};

struct Range {
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
};

// Cuts [0, size) at odd places, into up to four parts.
std::vector<Range> Shards(int size) {
  std::vector<Range> shards;
  int begin = 0;
  for (const int cut : {size / 7, size / 2 + 1, size - size / 5, size}) {
    if (cut > begin) shards.push_back({begin, cut});
    begin = std::max(begin, cut);
  }
  return shards;
}

// [rows][columns]
struct Table {
  int columns = 0;
  std::vector<float> values;

  float* row(int r) { return &values[static_cast<size_t>(r) * columns]; }
  const float* row(int r) const { return &values[static_cast<size_t>(r) * columns]; }
};

bool SameColumns(const Table& part, const Table& whole, int first) {
  for (int r = 0; r < static_cast<int>(part.values.size()) / part.columns; ++r) {
    if (std::memcmp(part.row(r), whole.row(r) + first, part.columns * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

// --- Linear layers ---

// Some outputs of a matrix, packed and computed as if there were no others.
class Linears {
 public:
  Linears(WeightFormat format, int outputs, int depth)
      : shape_{format, outputs, depth, nullptr},
        row_bytes_(StoredRowBytes(format, depth)),
        rows_(row_bytes_ * outputs) {
    const std::vector<float> weights =
        RandomValues(static_cast<size_t>(outputs) * depth, depth, 0.2f);
    for (int n = 0; n < outputs; ++n) {
      QuantizeRow(format, &weights[static_cast<size_t>(n) * depth], depth, &rows_[n * row_bytes_]);
    }
  }

  int outputs() const { return shape_.outputs; }

  Table Compute(Range outputs, const Table& x, Epilogue epilogue = Epilogue::kStore) const {
    PackedMatrix shard = shape_;
    shard.outputs = outputs.size();
    const AlignedBytes tiles = Zeroed(shard.Bytes());
    Pack({shard, 0, outputs.size(), &rows_[outputs.begin * row_bytes_]}, tiles.get());
    shard.tiles = tiles.get();
    std::vector<uint8_t> panels(PanelBytes(shard.format, shard.depth, kTokens));
    const size_t stride = x.columns;
    if (!panels.empty()) {
      Quantize({x.row(0), stride, kTokens, shard.depth, panels.data()}, 0, kTokens);
    }
    Table y{shard.outputs, std::vector<float>(static_cast<size_t>(kTokens) * shard.outputs, 0.3f)};
    Linear({.weights = shard,
            .x = x.row(0),
            .x_stride = stride,
            .panels = panels.data(),
            .tokens = kTokens,
            .y = y.row(0),
            .y_stride = static_cast<size_t>(y.columns),
            .epilogue = epilogue},
           0, shard.num_tiles());
    return y;
  }

 private:
  PackedMatrix shape_;
  size_t row_bytes_;
  std::vector<uint8_t> rows_;
};

constexpr WeightFormat kWeightFormats[] = {WeightFormat::kF32, WeightFormat::kBF16,
                                           WeightFormat::kQ8_0, WeightFormat::kQ4_1};

int DepthOf(WeightFormat format, int depth) {
  return IsQuantized(format) ? (depth + kBlock - 1) / kBlock * kBlock : depth;
}

TEST(OrderOfSumsTest, ALinearLayersOutputsDoNotDependOnTheOthers) {
  for (const WeightFormat format : kWeightFormats) {
    for (const int outputs : kWidths) {
      for (const int depth : {1, 33, 257}) {
        const Linears linear(format, outputs, DepthOf(format, depth));
        const Table x{DepthOf(format, depth), RandomValues(kTokens * DepthOf(format, depth), 1)};
        ForEachTarget([&] {
          for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd}) {
            const Table whole = linear.Compute({0, outputs}, x, epilogue);
            for (const Range& shard : Shards(outputs)) {
              EXPECT_TRUE(SameColumns(linear.Compute(shard, x, epilogue), whole, shard.begin))
                  << static_cast<int>(format) << ": " << shard.begin << ".." << shard.end << " of "
                  << outputs << " x " << depth;
            }
          }
        });
      }
    }
  }
}

// --- Gated FFNs: hidden columns, gathered, then output columns ---

Table Activate(const Table& gate, const Table& up) {
  Table hidden{gate.columns, std::vector<float>(gate.values.size())};
  const size_t stride = gate.columns;
  GatedActivation(
      {Activation::kSilu, gate.row(0), up.row(0), stride, gate.columns, hidden.row(0), stride}, 0,
      kTokens);
  return hidden;
}

TEST(OrderOfSumsTest, AnFfnsColumnsDoNotDependOnTheOthers) {
  constexpr int kModel = 96;
  for (const WeightFormat format : kWeightFormats) {
    for (const int width : kWidths) {
      const int hidden_size = DepthOf(format, width);
      const Linears gate(format, hidden_size, kModel), up(format, hidden_size, kModel);
      const Linears down(format, 97, hidden_size);
      const Table x{kModel, RandomValues(kTokens * kModel, 1)};
      ForEachTarget([&] {
        const Range all{0, hidden_size};
        const Table hidden = Activate(gate.Compute(all, x), up.Compute(all, x));
        Table gathered{hidden_size, std::vector<float>(hidden.values.size())};
        for (const Range& shard : Shards(hidden_size)) {
          const Table part = Activate(gate.Compute(shard, x), up.Compute(shard, x));
          for (int t = 0; t < kTokens; ++t) {
            std::copy_n(part.row(t), part.columns, gathered.row(t) + shard.begin);
          }
        }
        EXPECT_TRUE(SameColumns(gathered, hidden, 0)) << static_cast<int>(format) << ", " << width;
        const Table y = down.Compute({0, down.outputs()}, hidden);
        for (const Range& shard : Shards(down.outputs())) {
          EXPECT_TRUE(SameColumns(down.Compute(shard, gathered), y, shard.begin))
              << static_cast<int>(format) << ", " << width << ": " << shard.begin;
        }
      });
    }
  }
}

// --- Attention, by heads ---

// One token's attention over all positions, for some of the KV heads, as if there were no others.
Table Attend(Range kv_heads, const AttentionShape& whole, int positions) {
  const int group = whole.heads / whole.kv_heads;
  AttentionShape shape = whole;
  shape.kv_heads = kv_heads.size(), shape.heads = group * kv_heads.size();
  const size_t kv_width = static_cast<size_t>(whole.kv_heads) * whole.head_dim;
  const std::vector<float> keys = RandomValues(kv_width * positions, 1);
  const std::vector<float> values = RandomValues(kv_width * positions, 2);
  const std::vector<float> q = RandomValues(kv_width * group, 3);
  std::vector<int32_t> blocks;
  for (int b = 0; b * kBlockTokens < positions; ++b) blocks.push_back(b);
  std::vector<float> cache(blocks.size() * KvBlockFloats(shape));
  for (int p = 0; p < positions; ++p) {
    const size_t at = p * kv_width + static_cast<size_t>(kv_heads.begin) * whole.head_dim;
    StoreKv({shape, &cache[p / kBlockTokens * KvBlockFloats(shape)], p, &keys[at], &values[at]});
  }
  Table y{shape.heads * shape.head_dim, {}};
  y.values.resize(y.columns);
  const AttentionArgs args{.shape = shape,
                           .q = &q[static_cast<size_t>(kv_heads.begin) * group * whole.head_dim],
                           .q_stride = q.size(),
                           .kv = cache.data(),
                           .block_stride = KvBlockFloats(shape),
                           .out = y.row(0),
                           .out_stride = static_cast<size_t>(y.columns)};
  for (int head = 0; head < shape.kv_heads; ++head) {
    Attention(args, {0, 1, positions - 1, head, blocks.data()});
  }
  return y;
}

TEST(OrderOfSumsTest, AnAttentionHeadDoesNotDependOnTheOthers) {
  for (const int head_dim : {2, 30, 64}) {
    for (const int positions : {1, 31, 33, 97}) {
      const AttentionShape shape{.heads = 10, .kv_heads = 5, .head_dim = head_dim, .scale = 0.2f};
      ForEachTarget([&] {
        const Table whole = Attend({0, shape.kv_heads}, shape, positions);
        for (const Range& heads : Shards(shape.kv_heads)) {
          EXPECT_TRUE(SameColumns(Attend(heads, shape, positions), whole,
                                  heads.begin * shape.heads / shape.kv_heads * head_dim))
              << heads.begin << ".." << heads.end << ", " << head_dim << " x " << positions;
        }
      });
    }
  }
}

// --- Experts ---

constexpr ExpertFormat kExpertFormats[] = {ExpertFormat::kF32, ExpertFormat::kBF16,
                                           ExpertFormat::kInt8, ExpertFormat::kInt4,
                                           ExpertFormat::kFp8};
constexpr ExpertKind kNeurons[] = {ExpertKind::kNeuron, ExpertKind::kGatedNeuron};
constexpr int kExperts = 40;
constexpr int kPicks = 21;  // of a head: whole groups of picks and single ones

// A table with its records.
struct Experts {
  Experts(ExpertFormat format, ExpertKind kind, int width, int64_t count)
      : table{format, kind, width, count, nullptr}, records(Zeroed(table.Bytes())) {
    table.records = records.get();
  }
  uint8_t* record(int64_t expert) { return records.get() + expert * table.RecordBytes(); }
  int last() const { return table.vectors() - 1; }

  ExpertTable table;
  AlignedBytes records;
};

Experts MakeExperts(ExpertFormat format, ExpertKind kind, int width) {
  Experts experts(format, kind, width, kExperts);
  for (int v = 0; v < experts.table.vectors(); ++v) {
    const float scale = v == experts.last() ? 1 : 1 / std::sqrt(static_cast<float>(width));
    const std::vector<float> rows =
        RandomValues(static_cast<size_t>(kExperts) * width, 2 + v, scale);
    PackExperts({experts.table, v, 0, kExperts, rows.data()}, experts.records.get());
  }
  return experts;
}

// What one token's picks come to, in heads of `top_k`, with nothing before it in y.
struct Picks {
  int heads = 1;
  int top_k = kPicks;
  std::vector<uint32_t> ids;   // [heads][top_k]
  std::vector<float> weights;  // [heads][top_k]
};

ExpertArgs ArgsOf(const ExpertTable& table, const Picks& picks, const std::vector<float>& x) {
  return {.table = table,
          .activation = Activation::kGelu,
          .heads = picks.heads,
          .top_k = picks.top_k,
          .x = x.data(),
          .x_stride = x.size(),
          .ids = picks.ids.data(),
          .weights = picks.weights.data()};
}

std::vector<float> Sum(const ExpertTable& table, const Picks& picks, const std::vector<float>& x) {
  const AlignedBytes scratch = hwy::AllocateAligned<uint8_t>(ExpertScratchBytes(table));
  std::vector<float> y(table.width);
  ExpertArgs args = ArgsOf(table, picks, x);
  args.y = y.data();
  args.y_stride = y.size();
  AddExperts(args, 0, 1, scratch.get());
  return y;
}

// The picks' own vectors times their scalars: [picks][width].
std::vector<float> SumOneByOne(const ExpertTable& table, const Picks& picks,
                               const std::vector<float>& x) {
  std::vector<float> vectors;
  for (size_t i = 0; i < picks.ids.size(); ++i) {
    const std::vector<float> y = Sum(table, {1, 1, {picks.ids[i]}, {picks.weights[i]}}, x);
    vectors.insert(vectors.end(), y.begin(), y.end());
  }
  return vectors;
}

Picks RandomPicks(uint32_t first_id, uint32_t experts) {
  Picks picks;
  picks.weights = RandomValues(kPicks, 5);
  std::mt19937 random(6);
  for (int i = 0; i < kPicks; ++i) picks.ids.push_back(first_id + random() % experts);
  return picks;
}

bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

template <typename Check>
void ForEachNeuronTable(const Check& check) {
  for (const ExpertFormat format : kExpertFormats) {
    for (const ExpertKind kind : kNeurons) {
      for (const int width : {1, 3, 31, 33, 77, 97, 257, 1100}) {
        SCOPED_TRACE(testing::Message() << "format " << static_cast<int>(format) << ", kind "
                                        << static_cast<int>(kind) << ", width " << width);
        check(MakeExperts(format, kind, width), RandomValues(width, 1));
      }
    }
  }
}

// Whatever group of picks an expert is computed in, its scalar is the one that it has alone: with
// the others' weights 0 the sum is what it alone adds.
TEST(OrderOfSumsTest, AnExpertsScalarDoesNotDependOnThePicksBesideIt) {
  ForEachNeuronTable([](const Experts& experts, const std::vector<float>& x) {
    const ExpertTable& table = experts.table;
    const Picks picks = RandomPicks(0, kExperts);
    ForEachTarget([&] {
      const std::vector<float> alone = SumOneByOne(table, picks, x);
      for (int i = 0; i < kPicks; ++i) {
        Picks one = picks;
        for (int j = 0; j < kPicks; ++j) one.weights[j] = j == i ? picks.weights[i] : 0.0f;
        const std::vector<float> y = Sum(table, one, x);
        for (int c = 0; c < table.width; ++c) ASSERT_EQ(y[c], alone[i * table.width + c]) << i;
      }
    });
  });
}

// As W_down sharded by expert computes them.
TEST(OrderOfSumsTest, AnExpertsScalarDoesNotDependOnTheExpertsOfItsTable) {
  constexpr int kFirst = 13, kCount = 19;
  ForEachNeuronTable([&](const Experts& experts, const std::vector<float>& x) {
    const ExpertTable& table = experts.table;
    Experts shard(table.format, table.kind, table.width, kCount);
    std::memcpy(shard.records.get(), table.records + kFirst * table.RecordBytes(),
                shard.table.Bytes());
    ForEachTarget([&] {
      const auto whole = SumOneByOne(table, RandomPicks(kFirst, kCount), x);
      const auto part = SumOneByOne(shard.table, RandomPicks(0, kCount), x);
      EXPECT_TRUE(SameBits(part.data(), whole.data(), whole.size()));
    });
  });
}

// Where an element of a vector lies in its record (expert_record.h).
struct Place {
  Place(ExpertFormat format, int i)
      : word(i / ElementsPerLine(format) * kLineBytes + i % kWordsPerLine * 4) {
    const int slice = i % ElementsPerLine(format) / kWordsPerLine;
    const int bits = 32 * kWordsPerLine / ElementsPerLine(format);
    shift = format == ExpertFormat::kInt4 ? 8 * (slice % 4) + 4 * (slice / 4) : bits * slice;
    mask = ~uint32_t{0} >> (32 - bits);
  }
  uint32_t Get(const uint8_t* vector) const {
    uint32_t value;
    std::memcpy(&value, vector + word, 4);
    return value >> shift & mask;
  }
  void Set(uint32_t element, uint8_t* vector) const {
    uint32_t value;
    std::memcpy(&value, vector + word, 4);
    value = (value & ~(mask << shift)) | element << shift;
    std::memcpy(vector + word, &value, 4);
  }

  size_t word;
  int shift;
  uint32_t mask;
};

// Keeps [columns.begin, columns.end) of the last vector; the rest becomes 0. Scales stay.
void KeepColumns(Experts& experts, int64_t expert, Range columns) {
  const ExpertRecordLayout layout(experts.table);
  uint8_t* up = experts.record(expert) + layout.VectorOffset(experts.last());
  for (int i = 0; i < experts.table.width; ++i) {
    if (i < columns.begin || i >= columns.end) Place(experts.table.format, i).Set(0, up);
  }
}

Experts CopyOf(const Experts& experts) {
  const ExpertTable& t = experts.table;
  Experts copy(t.format, t.kind, t.width, t.num_experts);
  std::memcpy(copy.records.get(), t.records, t.Bytes());
  return copy;
}

// As W_up sharded by column computes them, with the scalars whole.
TEST(OrderOfSumsTest, AColumnOfYDoesNotDependOnTheOtherColumnsOfUp) {
  ForEachNeuronTable([](const Experts& experts, const std::vector<float>& x) {
    const int width = experts.table.width;
    Picks picks = RandomPicks(0, kExperts);
    picks.heads = 3, picks.top_k = kPicks / 3;
    for (const Range& columns : Shards(width)) {
      Experts shard = CopyOf(experts);
      for (int e = 0; e < kExperts; ++e) KeepColumns(shard, e, columns);
      ForEachTarget([&] {
        const std::vector<float> whole = Sum(experts.table, picks, x);
        const std::vector<float> part = Sum(shard.table, picks, x);
        EXPECT_TRUE(SameBits(&part[columns.begin], &whole[columns.begin], columns.size()))
            << columns.begin << ".." << columns.end;
        for (int c = 0; c < width; ++c) {
          ASSERT_TRUE(part[c] == 0 || (c >= columns.begin && c < columns.end)) << c;
        }
      });
    }
  });
}

// Where vectors of int4 can be cut: 16 scales belong to so many elements.
constexpr int kInt4Segment =
    ElementsPerLine(ExpertFormat::kInt4) * LinesPerSegment(ExpertFormat::kInt4);

// Up vectors alone, as values that take the scalars for weights: a table as narrow as its shard.
// What is stored of each element is the whole vector's, scale included, not rounded anew.
void CopyColumns(const Experts& from, int64_t expert, Range columns, Experts& to) {
  const ExpertFormat format = from.table.format;
  const ExpertRecordLayout source(from.table), target(to.table);
  const uint8_t* record = from.table.records + expert * from.table.RecordBytes();
  uint8_t* shard = to.record(expert);
  for (int i = 0; i < columns.size(); ++i) {
    const uint32_t element = Place(format, columns.begin + i).Get(record + source.VectorOffset(0));
    Place(format, i).Set(element, shard + target.VectorOffset(0));
  }
  if (HasVectorScale(format)) std::memcpy(shard, record, sizeof(float));
  if (format != ExpertFormat::kInt4) return;
  const int first_segment = columns.begin / kInt4Segment;
  for (int segment = 0; segment < target.segments; ++segment) {
    for (int lane = 0; lane < kWordsPerLine; ++lane) {
      std::memcpy(shard + target.ScalesOffset(0, segment) + 4 * lane,
                  record + source.ScalesOffset(0, first_segment + segment) + 4 * lane, 2);
    }
  }
}

TEST(OrderOfSumsTest, AColumnOfYDoesNotDependOnTheWidthOfItsTable) {
  for (const ExpertFormat format : kExpertFormats) {
    for (const int width : {33, 77, 97, 257, 1100}) {
      const Experts whole = MakeExperts(format, ExpertKind::kValue, width);
      Picks picks = RandomPicks(0, kExperts);
      picks.heads = 3, picks.top_k = kPicks / 3;
      std::vector<Range> shards = Shards(width);
      if (width == 77) shards = {{0, 31}, {31, 77}};
      if (format == ExpertFormat::kInt4) shards = {{0, std::min(width, kInt4Segment)}};
      if (format == ExpertFormat::kInt4 && width == 1100) {
        shards = {{0, 512}, {512, 1100}, {0, 1024}, {1024, 1100}};
      }
      for (const Range& columns : shards) {
        Experts shard(format, ExpertKind::kValue, columns.size(), kExperts);
        for (int e = 0; e < kExperts; ++e) CopyColumns(whole, e, columns, shard);
        ForEachTarget([&] {
          const std::vector<float> y = Sum(whole.table, picks, {});
          const std::vector<float> part = Sum(shard.table, picks, {});
          EXPECT_TRUE(SameBits(part.data(), &y[columns.begin], part.size()))
              << static_cast<int>(format) << ": " << columns.begin << ".." << columns.end << " of "
              << width;
        });
      }
    }
  }
}

}  // namespace
}  // namespace peerage::kernels
