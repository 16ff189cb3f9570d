// The lines of expert records (expert_record.h) as vectors of words, on every instruction set.
// Included once per instruction set, after hwy/highway.h (hence the unusual guard).
#if defined(PEERAGE_MODEL_KERNELS_EXPERT_LINES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_MODEL_KERNELS_EXPERT_LINES_INL_H_
#undef PEERAGE_MODEL_KERNELS_EXPERT_LINES_INL_H_
#else
#define PEERAGE_MODEL_KERNELS_EXPERT_LINES_INL_H_
#endif

#include "base/little_endian.h"
#include "hwy/highway.h"
#include "model/kernels/expert_record.h"
#include "model/kernels/vector_math-inl.h"

// Highway 1.0.3 compiles AVX3_DL with "avxvnni" (the 256-bit VEX form) where it means "avx512vnni".
// CPUs with AVX-512 often lack the former, so the compiler must not find a use for it: files that
// include this one are compiled without automatic vectorisation.
#undef PEERAGE_BEFORE_EXPERTS
#if HWY_TARGET == HWY_AVX3_DL
#define PEERAGE_BEFORE_EXPERTS() HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
#define PEERAGE_BEFORE_EXPERTS() HWY_BEFORE_NAMESPACE()
#endif

PEERAGE_BEFORE_EXPERTS();
namespace peerage::kernels {
namespace HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using VU = hn::Vec<DU>;

constexpr int kLanes = HWY_LANES(float);
constexpr int kVectors = kWordsPerLine / kLanes;  // of words in a line

HWY_INLINE VU LoadWords(const uint8_t* line, int vector) {
  return hn::LoadU(DU(), reinterpret_cast<const uint32_t*>(line) + vector * kLanes);
}
HWY_INLINE void StoreWords(VU words, uint8_t* line, int vector) {
  hn::StoreU(words, DU(), reinterpret_cast<uint32_t*>(line) + vector * kLanes);
}

// Into the L2 cache: the L1 cache has room for few lines on their way.
HWY_INLINE void FetchLine(const uint8_t* line) {
  __builtin_prefetch(line, /*rw=*/0, /*locality=*/2);
}

// Words of four signed bytes each: a word of int8 is one; of int4 two, their nibbles times 16.
template <ExpertFormat kFormat>
constexpr int kByteWords = kFormat == ExpertFormat::kInt4 ? 2 : 1;
template <ExpertFormat kFormat>
constexpr float kByteUnit = kFormat == ExpertFormat::kInt4 ? 16 : 1;

template <ExpertFormat kFormat>
HWY_INLINE void SplitIntoBytes(VU words, VU* bytes) {
  if constexpr (kFormat == ExpertFormat::kInt8) {
    bytes[0] = words;
  } else {
    const VU high = hn::Set(DU(), 0xf0f0f0f0);
    bytes[0] = hn::And(hn::ShiftLeft<4>(words), high);
    bytes[1] = hn::And(words, high);
  }
}

// Byte kByte of each word, times 2^24.
template <int kByte>
HWY_INLINE VF ByteToFloat(VU bytes) {
  const DU du;
  VU top;
  if constexpr (kByte == 0) {
    top = hn::ShiftLeft<24>(bytes);
  } else if constexpr (kByte == 3) {
    top = hn::And(bytes, hn::Set(du, 0xff000000));
  } else {
#if HWY_TARGET <= HWY_AVX2
    const hn::Repartition<uint8_t, DU> du8;
    const VU word = hn::ShiftLeft<26>(hn::And(hn::Iota(du, 0), hn::Set(du, 3)));
    const VU index = hn::Or(word, hn::Set(du, kByte << 24 | 0x808080));
    top =
        hn::BitCast(du, hn::TableLookupBytesOr0(hn::BitCast(du8, bytes), hn::BitCast(du8, index)));
#else
    top = hn::And(hn::ShiftLeft<24 - 8 * kByte>(bytes), hn::Set(du, 0xff000000));
#endif
  }
  return hn::ConvertTo(DF(), hn::BitCast(DI(), top));
}

// Byte kByte of each word as e4m3 (F32FromE4M3).
template <int kByte>
HWY_INLINE VF E4m3ToFloat(VU words) {
  const DU du;
  const VU top = hn::ShiftLeft<24 - 8 * kByte>(words);
  const VU sign = hn::And(top, hn::Set(du, 0x80000000));
  const VU magnitude = hn::And(hn::ShiftRight<4>(top), hn::Set(du, 0x07f00000));
  return hn::Mul(hn::BitCast(DF(), hn::Or(sign, magnitude)), hn::Set(DF(), 0x1p120f));
}

// A line's elements are slices of 16; those of an integer format come out times kSliceUnit.
template <ExpertFormat kFormat>
constexpr int kSlices = ElementsPerLine(kFormat) / kWordsPerLine;
template <ExpertFormat kFormat>
constexpr float kSliceUnit = IsInteger(kFormat) ? 0x1p24f * kByteUnit<kFormat> : 1;

template <ExpertFormat kFormat>
HWY_INLINE void Expand(VU words, VF* slices) {
  const DF df;
  if constexpr (kFormat == ExpertFormat::kF32) {
    slices[0] = hn::BitCast(df, words);
  } else if constexpr (kFormat == ExpertFormat::kBF16) {
    slices[0] = hn::BitCast(df, hn::ShiftLeft<16>(words));
    slices[1] = hn::BitCast(df, hn::And(words, hn::Set(DU(), 0xffff0000)));
  } else if constexpr (kFormat == ExpertFormat::kFp8) {
    slices[0] = E4m3ToFloat<0>(words);
    slices[1] = E4m3ToFloat<1>(words);
    slices[2] = E4m3ToFloat<2>(words);
    slices[3] = E4m3ToFloat<3>(words);
  } else {
    VU bytes[kByteWords<kFormat>];
    SplitIntoBytes<kFormat>(words, bytes);
    PEERAGE_UNROLL for (int i = 0; i < kByteWords<kFormat>; ++i) {
      slices[4 * i + 0] = ByteToFloat<0>(bytes[i]);
      slices[4 * i + 1] = ByteToFloat<1>(bytes[i]);
      slices[4 * i + 2] = ByteToFloat<2>(bytes[i]);
      slices[4 * i + 3] = ByteToFloat<3>(bytes[i]);
    }
  }
}

// The scale of a vector, of formats that HasVectorScale.
HWY_INLINE float LoadVectorScale(const uint8_t* record, int vector) {
  return LoadLittleEndian<float>(record + vector * sizeof(float));
}

// The scales of a segment of int4.
HWY_INLINE VF LoadInt4Scales(const uint8_t* record, size_t offset, int vector) {
  const VU words = LoadWords(record + offset / kLineBytes * kLineBytes, vector);
  return hn::BitCast(
      DF(), offset % 4 == 0 ? hn::ShiftLeft<16>(words) : hn::And(words, hn::Set(DU(), 0xffff0000)));
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_MODEL_KERNELS_EXPERT_LINES_INL_H_
