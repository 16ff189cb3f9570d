// Dot products of a token with vectors of experts. f32, bf16 and fp8: 16 partial sums (element i
// belongs to sum i % 16). int8 and int4: the token is rounded to 16 bits, and the products of a
// segment of a record are summed exactly, as integers, in 16 lanes; then lanes meet their scales.
// Included once per instruction set, after hwy/highway.h (hence the unusual guard).
#if defined(PEERAGE_MODEL_KERNELS_EXPERT_DOTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_MODEL_KERNELS_EXPERT_DOTS_INL_H_
#undef PEERAGE_MODEL_KERNELS_EXPERT_DOTS_INL_H_
#else
#define PEERAGE_MODEL_KERNELS_EXPERT_DOTS_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "model/kernels/expert_lines-inl.h"

PEERAGE_BEFORE_EXPERTS();
namespace peerage::kernels {
namespace HWY_NAMESPACE {

// A token's activations as the dots of a format read them. A token with a NaN or an infinity is NaN
// altogether, so that no rounding or activation function hides it.
struct Token {
  // f32, bf16 and fp8: [lines][elements of a line], zeros behind the width.
  float* x;
  // int8 and int4: x = scale * q, |q| <= kLargestQuant. For each 64 elements two lines of words:
  // with VNNI the high bytes and the low bytes of q (both signed, q = 256 high + low; byte b of
  // word l is element 16 b + l), else pairs of elements (l, 32 + l) and (16 + l, 48 + l).
  uint8_t* quants;
  int32_t* biases;  // VNNI: -128 times the sum of q, of each word of each segment
  float scale;      // for bytes of kByteUnit
};

constexpr int kQuantElements = 64;
constexpr int kLargestQuant = 127 * 256 + 127;

// Sums of products of four bytes, exactly. Clear, not an initialiser: implicit constructors do not
// get the target's attributes.
#if HWY_TARGET == HWY_AVX3_DL

// The weights are biased by 128 to become unsigned; the biases of a token take it off again.
struct IntegerSum {
  VI high, low;
  HWY_INLINE void Clear(const int32_t* bias) {
    high = hn::Zero(DI());
    low = hn::LoadU(DI(), bias);
  }
  HWY_INLINE void Add(VU bytes, VU x_high, VU x_low) {
    const VU w = hn::Xor(bytes, hn::Set(DU(), 0x80808080));
    high = VI{_mm512_dpbusd_epi32(high.raw, w.raw, x_high.raw)};
    low = VI{_mm512_dpbusd_epi32(low.raw, w.raw, x_low.raw)};
  }
  HWY_INLINE VI Total() const { return hn::Add(hn::ShiftLeft<8>(high), low); }
};

#else

#if HWY_TARGET <= HWY_AVX2
using DI16 = hn::Repartition<int16_t, DI>;
HWY_INLINE VU EvenBytes(VU bytes) {
  const DI16 d16;
  return hn::BitCast(DU(), hn::ShiftRight<8>(hn::ShiftLeft<8>(hn::BitCast(d16, bytes))));
}
HWY_INLINE VU OddBytes(VU bytes) {
  return hn::BitCast(DU(), hn::ShiftRight<8>(hn::BitCast(DI16(), bytes)));
}
HWY_INLINE VI MulPairs(VU a, VU b) {
#if HWY_TARGET == HWY_AVX2
  return VI{_mm256_madd_epi16(a.raw, b.raw)};
#else
  return VI{_mm512_madd_epi16(a.raw, b.raw)};
#endif
}
#else
template <int kBits>
HWY_INLINE VI SignExtend(VU words) {  // of the low bits
  return hn::ShiftRight<32 - kBits>(hn::BitCast(DI(), hn::ShiftLeft<32 - kBits>(words)));
}
HWY_INLINE VU Pair(VI low, VI high) {
  const VU low_half = hn::And(hn::BitCast(DU(), low), hn::Set(DU(), 0xffff));
  return hn::Or(low_half, hn::ShiftLeft<16>(hn::BitCast(DU(), high)));
}
HWY_INLINE VU EvenBytes(VU bytes) {
  return Pair(SignExtend<8>(bytes), SignExtend<8>(hn::ShiftRight<16>(bytes)));
}
HWY_INLINE VU OddBytes(VU bytes) { return EvenBytes(hn::ShiftRight<8>(bytes)); }
HWY_INLINE VI MulPairs(VU a, VU b) {
  const VI low = hn::Mul(SignExtend<16>(a), SignExtend<16>(b));
  return hn::Add(
      low, hn::Mul(SignExtend<16>(hn::ShiftRight<16>(a)), SignExtend<16>(hn::ShiftRight<16>(b))));
}
#endif

struct IntegerSum {
  VI sum;
  HWY_INLINE void Clear(const int32_t*) { sum = hn::Zero(DI()); }
  HWY_INLINE void Add(VU bytes, VU x_even, VU x_odd) {
    sum = hn::Add(sum, MulPairs(EvenBytes(bytes), x_even));
    sum = hn::Add(sum, MulPairs(OddBytes(bytes), x_odd));
  }
  HWY_INLINE VI Total() const { return sum; }
};

#endif

// The quants of elements 16 b + l of 64, b = 0..3, as the products read them.
HWY_INLINE void StoreQuants(const VI* q, uint8_t* lines, int vector) {
  const DU du;
#if HWY_TARGET == HWY_AVX3_DL
  VU high = hn::Zero(du), low = hn::Zero(du);
  const VU byte = hn::Set(du, 0xff);
  PEERAGE_UNROLL for (int b = 0; b < 4; ++b) {
    const VI rounded = hn::Add(q[b], hn::Set(DI(), 128));
    const VU high_byte = hn::And(hn::BitCast(du, hn::ShiftRight<8>(rounded)), byte);
    high = hn::Or(high, hn::ShiftLeftSame(high_byte, 8 * b));
    low = hn::Or(low, hn::ShiftLeftSame(hn::And(hn::BitCast(du, q[b]), byte), 8 * b));
  }
  StoreWords(high, lines, vector);
  StoreWords(low, lines + kLineBytes, vector);
#else
  const VU half = hn::Set(du, 0xffff);
  PEERAGE_UNROLL for (int odd = 0; odd < 2; ++odd) {
    const VU low = hn::And(hn::BitCast(du, q[odd]), half);
    const VU words = hn::Or(low, hn::ShiftLeft<16>(hn::BitCast(du, q[odd + 2])));
    StoreWords(words, lines + odd * kLineBytes, vector);
  }
#endif
}

// Infinity or NaN when there is one: magnitudes compare as their bits do, and NaN is above
// infinity.
HWY_INLINE float LargestMagnitude(const float* x, int width) {
  const DF df;
  const DI di;
  VI most = hn::Zero(di);
  for (int i = 0; i < width; i += kLanes) {
    most = hn::Max(most, hn::BitCast(di, hn::Abs(LoadFirst(df, x + i, width - i))));
  }
  return hn::GetLane(hn::BitCast(df, hn::MaxOfLanes(di, most)));
}

template <ExpertFormat kFormat>
void QuantizeToken(const ExpertRecordLayout& layout, const float* x, int width, Token& token) {
  const DF df;
  const DI di;
  constexpr float kMost = std::numeric_limits<float>::max();
  const float largest = LargestMagnitude(x, width);
  const bool scaled = largest > kLeastScaled && largest <= kMost;
  token.scale = largest <= kMost ? largest / kLargestQuant / kByteUnit<kFormat>
                                 : std::numeric_limits<float>::quiet_NaN();
  const VF inverse = hn::Set(df, scaled ? kLargestQuant / largest : 0);
  if (!scaled) width = 0;
  const int blocks = layout.lines * kByteWords<kFormat>;
  constexpr int kSegmentBlocks = LinesPerSegment(kFormat) * kByteWords<kFormat>;
  for (int segment = 0; segment < layout.segments; ++segment) {
    VI sum[kVectors];
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(di);
    const int end = std::min(blocks, (segment + 1) * kSegmentBlocks);
    for (int block = segment * kSegmentBlocks; block < end; ++block) {
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        VI q[4];
        PEERAGE_UNROLL for (int b = 0; b < 4; ++b) {
          const int i = block * kQuantElements + b * kWordsPerLine + v * kLanes;
          q[b] = hn::NearestInt(hn::Mul(LoadFirst(df, x + i, width - i), inverse));
          sum[v] = hn::Add(sum[v], q[b]);
        }
        StoreQuants(q, token.quants + 2 * kLineBytes * block, v);
      }
    }
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      const VI bias = hn::Neg(hn::ShiftLeft<7>(sum[v]));
      hn::StoreU(bias, di, token.biases + segment * kWordsPerLine + v * kLanes);
    }
  }
}

template <ExpertFormat kFormat>
void PrepareToken(const ExpertRecordLayout& layout, const float* x, int width, Token& token) {
  if constexpr (IsInteger(kFormat)) return QuantizeToken<kFormat>(layout, x, width, token);
  const DF df;
  const bool finite = LargestMagnitude(x, width) <= std::numeric_limits<float>::max();
  const VF poison = hn::Set(df, finite ? 0 : std::numeric_limits<float>::quiet_NaN());
  for (int i = 0; i < layout.lines * ElementsPerLine(kFormat); i += kLanes) {
    hn::StoreU(hn::Add(LoadFirst(df, x + i, width - i), poison), df, token.x + i);
  }
}

// Adds the upper half of the lanes to the lower until one is left.
template <class D>
HWY_INLINE float AddHalves(D d, hn::Vec<D> v) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(D()) > 1) {
    const hn::Half<D> half;
    return AddHalves(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
#endif
  return hn::GetLane(v);
}
HWY_INLINE float AddLanes(VF (&sums)[kVectors]) {
  PEERAGE_UNROLL for (int half = kVectors / 2; half > 0; half /= 2) {
    PEERAGE_UNROLL for (int v = 0; v < half; ++v) sums[v] = hn::Add(sums[v], sums[v + half]);
  }
  return AddHalves(DF(), sums[0]);
}

// One vector of some experts' records, and records whose vector is fetched meanwhile, line by line.
struct VectorStreams {
  const uint8_t* const* records;
  const uint8_t* const* ahead;
  int vector;

  HWY_INLINE VectorStreams From(int i) const { return {records + i, ahead + i, vector}; }
};

template <ExpertFormat kFormat, int N>
HWY_INLINE void FloatDots(const ExpertRecordLayout& layout, const Token& token,
                          const VectorStreams& streams, float* out) {
  const DF df;
  VF sum[N][kVectors];
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(df);
  }
  const size_t begin = layout.VectorOffset(streams.vector);
  const float* x = token.x;
  for (int line = 0; line < layout.lines; ++line, x += ElementsPerLine(kFormat)) {
    const size_t offset = begin + line * kLineBytes;
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
        if (v == 0) FetchLine(streams.ahead[i] + offset);
        VF w[kSlices<kFormat>];
        Expand<kFormat>(LoadWords(streams.records[i] + offset, v), w);
        PEERAGE_UNROLL for (int s = 0; s < kSlices<kFormat>; ++s) {
          const VF xs = hn::LoadU(df, x + s * kWordsPerLine + v * kLanes);
          sum[i][v] = FusedMulAdd(df, w[s], xs, sum[i][v]);
        }
      }
    }
  }
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    out[i] = AddLanes(sum[i]);
    if constexpr (HasVectorScale(kFormat)) {
      out[i] *= LoadVectorScale(streams.records[i], streams.vector);
    }
  }
}

template <ExpertFormat kFormat, int N>
HWY_INLINE void IntegerDots(const ExpertRecordLayout& layout, const Token& token,
                            const VectorStreams& streams, float* out) {
  const DF df;
  VF total[N][kVectors];
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) total[i][v] = hn::Zero(df);
  }
  const size_t begin = layout.VectorOffset(streams.vector);
  const uint8_t* x = token.quants;
  for (int segment = 0; segment < layout.segments; ++segment) {
    IntegerSum sum[N][kVectors];
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        sum[i][v].Clear(token.biases + segment * kWordsPerLine + v * kLanes);
      }
    }
    const int end = std::min(layout.lines, (segment + 1) * LinesPerSegment(kFormat));
    for (int line = segment * LinesPerSegment(kFormat); line < end; ++line) {
      const size_t offset = begin + line * kLineBytes;
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
          if (v == 0) FetchLine(streams.ahead[i] + offset);
          VU bytes[kByteWords<kFormat>];
          SplitIntoBytes<kFormat>(LoadWords(streams.records[i] + offset, v), bytes);
          PEERAGE_UNROLL for (int b = 0; b < kByteWords<kFormat>; ++b) {
            sum[i][v].Add(bytes[b], LoadWords(x + 2 * b * kLineBytes, v),
                          LoadWords(x + (2 * b + 1) * kLineBytes, v));
          }
        }
      }
      x += 2 * kByteWords<kFormat> * kLineBytes;
    }
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        VF lanes = hn::ConvertTo(df, sum[i][v].Total());
        if constexpr (kFormat == ExpertFormat::kInt4) {
          const size_t scales = layout.ScalesOffset(streams.vector, segment);
          lanes = hn::Mul(lanes, LoadInt4Scales(streams.records[i], scales, v));
        }
        total[i][v] = hn::Add(total[i][v], lanes);
      }
    }
  }
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    out[i] = AddLanes(total[i]) * token.scale;
    if constexpr (HasVectorScale(kFormat)) {
      out[i] *= LoadVectorScale(streams.records[i], streams.vector);
    }
  }
}

// out[i] = the dot product of the token and the vector of record i, of N.
template <ExpertFormat kFormat, int N>
HWY_INLINE void Dots(const ExpertRecordLayout& layout, const Token& token,
                     const VectorStreams& streams, float* out) {
  if constexpr (IsInteger(kFormat)) {
    IntegerDots<kFormat, N>(layout, token, streams, out);
  } else {
    FloatDots<kFormat, N>(layout, token, streams, out);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_MODEL_KERNELS_EXPERT_DOTS_INL_H_
