#include <algorithm>
#include <array>
#include <limits>

#include "model/kernels/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/attention_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void AttentionTarget(const AttentionArgs& args, const AttentionItem& item) {
  AttentionReference(args, item);
}

#else

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

constexpr int kLanes = HWY_LANES(float);
constexpr int kBlockVectors = kBlockTokens / kLanes;
constexpr int kSumVectors = kPartialSums / kLanes;

// A line is one query head of one row. A tile of lines shares every load of keys and values: 6
// lines by 2 vectors of sums fill the registers. A group of lines shares a pass over the blocks.
constexpr int kTileLines = 6;
constexpr int kGroupLines = 24;

// Vectors of sums a line may have while `lines` of them fit into the registers.
constexpr int VectorsPerLine(int lines) { return lines <= 3 ? kBlockVectors : 2; }

struct Line {
  float* out;
  int position;
  float highest;  // score so far
};

struct Group {
  int head_dim;
  int num_lines;
  std::array<Line, kGroupLines> lines;
  alignas(64) float q[kGroupLines * kMaxHeadDim];  // scaled; tile by tile, [head_dim][tile's lines]
  alignas(64) float sums[kGroupLines][kPartialSums];   // of the probabilities
  alignas(64) float values[kGroupLines][kMaxHeadDim];  // probabilities times values
};

// Lines [first, first + lines) of a group.
struct Tile {
  int first;
  int lines;
};

// Tiles of nearly the same size.
HWY_INLINE Tile TileAt(int first, int num_lines) {
  const int left = num_lines - first;
  const int tiles = (left + kTileLines - 1) / kTileLines;
  return {first, (left + tiles - 1) / tiles};
}

struct Block {
  const float* keys;    // [head_dim][kBlockTokens]
  const float* values;  // [kBlockTokens][head_dim]
  int position;         // of its first token
};

// scores[line][position] = q . k, summed in order of head_dim.
template <int kLines>
HWY_INLINE void Scores(const float* HWY_RESTRICT q, const float* HWY_RESTRICT keys, int head_dim,
                       float* HWY_RESTRICT scores) {
  constexpr int kVectors = VectorsPerLine(kLines);
  const DF d;
  for (int first = 0; first < kBlockVectors; first += kVectors) {
    VF sum[kLines][kVectors];
    PEERAGE_UNROLL for (int l = 0; l < kLines; ++l) {
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) sum[l][v] = hn::Zero(d);
    }
    for (int i = 0; i < head_dim; ++i) {
      VF k[kVectors];
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        k[v] = hn::LoadU(d, keys + i * kBlockTokens + (first + v) * kLanes);
      }
      PEERAGE_UNROLL for (int l = 0; l < kLines; ++l) {
        const VF x = hn::Set(d, q[i * kLines + l]);
        PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
          sum[l][v] = hn::MulAdd(x, k[v], sum[l][v]);
        }
      }
    }
    PEERAGE_UNROLL for (int l = 0; l < kLines; ++l) {
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        hn::StoreU(sum[l][v], d, scores + l * kBlockTokens + (first + v) * kLanes);
      }
    }
  }
}

// Turns a line's scores of one block, of which `visible` count, into exp(score - highest), adds
// them to its sums, and returns the factor that brings what was summed before to the new highest.
HWY_INLINE float Softmax(int visible, float* HWY_RESTRICT scores, float* HWY_RESTRICT sums,
                         Line& line) {
  const DF d;
  VF s[kBlockVectors];
  VF highest = hn::Neg(hn::Inf(d));
  PEERAGE_UNROLL for (int v = 0; v < kBlockVectors; ++v) {
    s[v] = hn::LoadU(d, scores + v * kLanes);
    if (visible < kBlockTokens) {
      s[v] = hn::IfThenElse(FirstLanes(d, visible - v * kLanes), s[v], hn::Neg(hn::Inf(d)));
    }
    highest = hn::Max(highest, s[v]);
  }
  const VF before = hn::Set(d, line.highest);
  highest = hn::Max(before, hn::MaxOfLanes(d, highest));
  line.highest = hn::GetLane(highest);
  const VF factor = Exp(d, hn::Sub(before, highest));
  PEERAGE_UNROLL for (int v = 0; v < kBlockVectors; ++v) {
    s[v] = Exp(d, hn::Sub(s[v], highest));
    hn::StoreU(s[v], d, scores + v * kLanes);
  }
  PEERAGE_UNROLL for (int v = 0; v < kSumVectors; ++v) {
    const VF sum = hn::Load(d, sums + v * kLanes);
    hn::Store(hn::MulAdd(sum, factor, hn::Add(s[v], s[v + kSumVectors])), d, sums + v * kLanes);
  }
  return hn::GetLane(factor);
}

// What one call of Values adds up: positions [first, end) of a block for the lines of a tile.
struct Weighted {
  const float* probabilities;  // [lines][kBlockTokens]
  const float* factors;        // [lines], applied to what is there before
  const float* values;         // [kBlockTokens][head_dim]
  int head_dim;
  int first;
  int end;
};

// Adds probability * value to kVectors vectors of columns, in order of position.
template <int kLines, int kVectors>
HWY_INLINE void ValueColumns(const Weighted& w, int column, float* HWY_RESTRICT out) {
  const DF d;
  const auto columns = FirstLanes(d, w.head_dim - column);
  VF sum[kLines][kVectors];
  PEERAGE_UNROLL for (int l = 0; l < kLines; ++l) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      const VF before = hn::Load(d, out + l * kMaxHeadDim + column + v * kLanes);
      sum[l][v] = hn::Mul(before, hn::Set(d, w.factors[l]));
    }
  }
  for (int i = w.first; i < w.end; ++i) {
    const float* HWY_RESTRICT row = w.values + i * w.head_dim + column;
    VF value[kVectors];
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      value[v] = kVectors == 1 ? hn::MaskedLoad(columns, d, row) : hn::LoadU(d, row + v * kLanes);
    }
    PEERAGE_UNROLL for (int l = 0; l < kLines; ++l) {
      const VF p = hn::Set(d, w.probabilities[l * kBlockTokens + i]);
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        sum[l][v] = hn::MulAdd(p, value[v], sum[l][v]);
      }
    }
  }
  PEERAGE_UNROLL for (int l = 0; l < kLines; ++l) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      hn::Store(sum[l][v], d, out + l * kMaxHeadDim + column + v * kLanes);
    }
  }
}

template <int kLines>
HWY_INLINE void Values(const Weighted& w, float* HWY_RESTRICT out) {
  constexpr int kVectors = VectorsPerLine(kLines);
  int column = 0;
  for (; column + kVectors * kLanes <= w.head_dim; column += kVectors * kLanes) {
    ValueColumns<kLines, kVectors>(w, column, out);
  }
  for (; column < w.head_dim; column += kLanes) ValueColumns<kLines, 1>(w, column, out);
}

// One block for the lines [first, first + kLines) of a group. A line sees positions up to its own;
// of what lies behind, not even a NaN reaches it.
template <int kLines>
void AttendTile(const Block& block, int first, Group& group) {
  alignas(64) float scores[kLines * kBlockTokens];
  Scores<kLines>(group.q + first * group.head_dim, block.keys, group.head_dim, scores);
  float factors[kLines];
  int visible[kLines];
  int common = kBlockTokens;
  for (int l = 0; l < kLines; ++l) {
    Line& line = group.lines[first + l];
    visible[l] = std::clamp(line.position - block.position + 1, 0, kBlockTokens);
    common = std::min(common, visible[l]);
    factors[l] = 1;
    if (visible[l] == 0) continue;
    factors[l] = Softmax(visible[l], scores + l * kBlockTokens, group.sums[first + l], line);
  }
  Weighted w{scores, factors, block.values, group.head_dim, 0, common};
  Values<kLines>(w, group.values[first]);
  const float one = 1;
  for (int l = 0; l < kLines; ++l) {
    if (visible[l] == common) continue;
    w = {scores + l * kBlockTokens, &one, block.values, group.head_dim, common, visible[l]};
    Values<1>(w, group.values[first + l]);
  }
}

void AttendTile(const Block& block, Tile tile, Group& group) {
  using Attend = void (*)(const Block&, int, Group&);
  constexpr Attend kByLines[kTileLines] = {AttendTile<1>, AttendTile<2>, AttendTile<3>,
                                           AttendTile<4>, AttendTile<5>, AttendTile<6>};
  kByLines[tile.lines - 1](block, tile.first, group);
}

// Lines [first_line, first_line + num_lines) of an item; line i is head i % heads_per_kv of row
// i / heads_per_kv.
HWY_INLINE void Begin(const AttentionArgs& args, const AttentionItem& item, int first_line,
                      Group& group) {
  const int head_dim = args.shape.head_dim;
  const int heads_per_kv = args.shape.heads / args.shape.kv_heads;
  group.head_dim = head_dim;
  group.num_lines = std::min(kGroupLines, item.tokens * heads_per_kv - first_line);
  for (int first = 0; first < group.num_lines;) {
    const Tile tile = TileAt(first, group.num_lines);
    for (int l = first; l < first + tile.lines; ++l) {
      const int t = (first_line + l) / heads_per_kv;
      const int head = item.kv_head * heads_per_kv + (first_line + l) % heads_per_kv;
      const size_t row = item.row + t;
      group.lines[l] = {args.out + row * args.out_stride + head * head_dim, item.position + t,
                        -std::numeric_limits<float>::infinity()};
      const float* q = args.q + row * args.q_stride + head * head_dim;
      float* to = group.q + first * head_dim + (l - first);
      for (int i = 0; i < head_dim; ++i) to[i * tile.lines] = q[i] * args.shape.scale;
      std::fill_n(group.sums[l], kPartialSums, 0.0f);
      std::fill_n(group.values[l], kMaxHeadDim, 0.0f);
    }
    first += tile.lines;
  }
}

HWY_INLINE void Finish(Group& group) {
  const DF d;
  for (int l = 0; l < group.num_lines; ++l) {
    const VF inverse = hn::Set(d, 1.0f / AddPartialSums(group.sums[l]));
    for (int i = 0; i < group.head_dim; i += kLanes) {
      const VF out = hn::Mul(hn::Load(d, group.values[l] + i), inverse);
      StoreFirst(out, d, group.lines[l].out + i, group.head_dim - i);
    }
  }
}

void AttentionTarget(const AttentionArgs& args, const AttentionItem& item) {
  const AttentionShape& shape = args.shape;
  const size_t head_floats = size_t{kBlockTokens} * shape.head_dim;
  const int num_lines = item.tokens * (shape.heads / shape.kv_heads);
  Group group;
  for (int first_line = 0; first_line < num_lines; first_line += kGroupLines) {
    Begin(args, item, first_line, group);
    const int last_position = group.lines[group.num_lines - 1].position;
    for (int b = 0; b * kBlockTokens <= last_position; ++b) {
      const float* keys = args.kv + item.blocks[b] * args.block_stride;
      keys += item.kv_head * 2 * head_floats;
      const Block block{keys, keys + head_floats, b * kBlockTokens};
      for (int first = 0; first < group.num_lines;) {
        const Tile tile = TileAt(first, group.num_lines);
        AttendTile(block, tile, group);
        first += tile.lines;
      }
    }
    Finish(group);
  }
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(AttentionTarget);

void Attention(const AttentionArgs& args, const AttentionItem& item) {
  HWY_DYNAMIC_DISPATCH(AttentionTarget)(args, item);
}

}  // namespace peerage::kernels
#endif
