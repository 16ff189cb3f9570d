#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "base/little_endian.h"
#include "model/kernels/best_k.h"
#include "model/kernels/float16.h"
#include "model/kernels/logits.h"
#include "model/kernels/product_keys.h"
#include "model/kernels/stored_block.h"
#include "model/kernels/sub_keys.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/sub_keys_cpu.cc"
#define HWY_WANT_AVX3_DL  // Highway 1.0.3 leaves it out unless asked
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels::HWY_NAMESPACE {

// Highway 1.0.3 has no target with BF16 arithmetic. Every CPU that has it and that Highway treats
// as AVX3_DL may use it; so a test that asks for less gets less.
bool MayUseBF16Arithmetic() { return HWY_TARGET == HWY_AVX3_DL; }

}  // namespace peerage::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(MayUseBF16Arithmetic);

namespace {

constexpr int kMaxRowsAtOnce = 32;
constexpr int kMinRowsAtOnce = 6;            // what linear layers compute at once
constexpr size_t kScoresAtOnce = 64 * 1024;  // of f32: with the sub-keys' tiles they fit the L2

int RowsAtOnce(int n) {
  return std::clamp(static_cast<int>(kScoresAtOnce / n), kMinRowsAtOnce, kMaxRowsAtOnce);
}

float KeyElement(const SubKeys& keys, const uint8_t* key, int i) {
  return keys.format == WeightFormat::kF32 ? LoadLittleEndian<float>(key + 4 * i)
                                           : F32FromBF16(LoadLittleEndian<uint16_t>(key + 2 * i));
}

// Infinite or NaN when an element is.
float LargestNorm(const SubKeys& keys, const uint8_t* rows) {
  double largest = 0;
  for (int j = 0; j < keys.n; ++j) {
    double square = 0;
    for (int i = 0; i < keys.width; ++i) {
      const double element = KeyElement(keys, rows + j * KeyBytes(keys), i);
      square += element * element;
    }
    if (!(square <= largest)) largest = square;
    if (std::isnan(largest)) break;
  }
  return std::nextafter(static_cast<float>(std::sqrt(largest)),
                        std::numeric_limits<float>::infinity());
}

// Rows [first, first + rows) of a call, and where their scores go.
struct Block {
  const SubKeyTopKArgs& args;
  int first;
  int rows;
  float* scores;  // [rows][ScoreStride]

  const float* query(int r) const { return args.queries + (first + r) * args.stride; }
  float* values(int r) const { return args.values + (first + r) * args.out_stride; }
  int32_t* ids(int r) const { return args.ids + (first + r) * args.out_stride; }
  FindArgs find(int r) const {
    return {scores + r * SubKeyScoreStride(args.keys.n), args.keys.n, args.k};
  }
};

// Queries of so many rows, [rows][stride].
void Score(const SubKeys& keys, const float* queries, size_t stride, int rows, float* scores) {
  const PackedMatrix tiles = SubKeyTiles(keys);
  Linear({.weights = tiles,
          .x = queries,
          .x_stride = stride,
          .tokens = rows,
          .y = scores,
          .y_stride = SubKeyScoreStride(keys.n)},
         0, tiles.num_tiles());
}

void RunExactly(const Block& block) {
  const SubKeys& keys = block.args.keys;
  Score(keys, block.query(0), block.args.stride, block.rows, block.scores);
  for (int r = 0; r < block.rows; ++r) {
    const float* scores = block.scores + r * SubKeyScoreStride(keys.n);
    TopK({scores, 0, 1, keys.n, block.args.k, block.values(r), block.ids(r)});
    if (block.args.log_sum_exp == nullptr) continue;
    block.args.log_sum_exp[block.first + r] = LogSumExp(std::span(scores, keys.n));
  }
}

// Where the candidates cannot be told from the rest, the row is computed exactly.
void RunApproximately(const Block& block, uint32_t* rounded) {
  const SubKeyTopKArgs& args = block.args;
  ScoreApproximately({.keys = args.keys,
                      .queries = block.query(0),
                      .stride = args.stride,
                      .rows = block.rows,
                      .rounded = rounded,
                      .scores = block.scores,
                      .score_stride = SubKeyScoreStride(args.keys.n)});
  for (int r = 0; r < block.rows; ++r) {
    FindArgs find = block.find(r);
    find.tolerance = BF16Tolerance(args.keys, block.query(r));
    Candidates candidates = FindCandidates(find);
    if (std::isfinite(find.tolerance) && Sufficient(candidates, args.k)) {
      Rescore({args.keys, block.query(r), candidates.count, candidates.sources, candidates.values});
      SelectBest(candidates, args.k, block.values(r), block.ids(r));
    } else {
      RunExactly({args, block.first + r, 1, block.scores + r * SubKeyScoreStride(args.keys.n)});
    }
  }
}

}  // namespace

size_t SubKeyBytes(const SubKeys& shape) { return SubKeyLayout(shape).bytes; }

void PackSubKeys(const SubKeys& shape, const uint8_t* rows, uint8_t* data) {
  const SubKeyLayout layout(shape);
  std::memset(data, 0, layout.bytes);
  Pack({SubKeyTiles(shape), 0, shape.n, rows}, data);
  if (!UsesBF16(shape)) return;
  const float norm = LargestNorm(shape, rows);
  std::memcpy(data + layout.norm, &norm, sizeof norm);
  if (shape.format != WeightFormat::kBF16) {
    const int64_t elements = int64_t{shape.n} * shape.width;
    std::vector<uint8_t> rounded(StoredRowBytes(WeightFormat::kBF16, elements));
    ConvertRow({StoredType(shape.format), WeightFormat::kBF16, rows, elements}, rounded.data());
    Pack({SubKeyLayout::BF16Shape(shape), 0, shape.n, rounded.data()}, data + layout.bf16);
  }
  for (int j = 0; j < shape.n; ++j) {
    std::memcpy(data + layout.rows + j * layout.row_bytes, rows + j * KeyBytes(shape),
                KeyBytes(shape));
  }
}

size_t SubKeyTopKScratch(int n, int width) {
  const int rows = RowsAtOnce(n);
  return (SubKeyScoreStride(n) + RoundedStride(width)) * rows * sizeof(float);
}

// Whole tiles, each row at a multiple of 64 bytes.
size_t SubKeyScoreStride(int n) { return (size_t(n) + kOutputs - 1) / kOutputs * kOutputs; }

void ScoreSubKeys(const SubKeys& keys, const float* query, float* scores) {
  Score(keys, query, keys.width, 1, scores);
}

void SubKeyTopK(const SubKeyTopKArgs& args) {
  const int rows_at_once = RowsAtOnce(args.keys.n);
  auto* scores = reinterpret_cast<float*>(args.scratch);
  auto* rounded =
      reinterpret_cast<uint32_t*>(scores + SubKeyScoreStride(args.keys.n) * rows_at_once);
  const bool approximately = UsesBF16(args.keys) && args.log_sum_exp == nullptr &&
                             HasBF16Arithmetic() && HWY_DYNAMIC_DISPATCH(MayUseBF16Arithmetic)();
  for (int r = 0; r < args.rows; r += rows_at_once) {
    const Block block{args, r, std::min(rows_at_once, args.rows - r), scores};
    approximately ? RunApproximately(block, rounded) : RunExactly(block);
  }
}

}  // namespace peerage::kernels
#endif
