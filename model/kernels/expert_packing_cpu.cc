// Rows of f32 become vectors of records (expert_record.h), rounded to the table's format.
#include <cstring>
#include <limits>

#include "model/kernels/expert_record.h"
#include "model/kernels/experts.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/expert_packing_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using VU = hn::Vec<DU>;

constexpr int kLanes = HWY_LANES(float);
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A vector of an expert, and where it goes.
struct Job {
  ExpertRecordLayout layout;
  int width;
  int vector;
  const float* x;
  uint8_t* record;

  HWY_INLINE VF LoadX(int i) const { return LoadFirst(DF(), x + i, width - i); }
  HWY_INLINE uint8_t* line(int i) const {
    return record + layout.VectorOffset(vector) + i * kLineBytes;
  }
};

HWY_INLINE void StoreWords(VU words, uint8_t* line, int lane) {
  hn::StoreU(words, DU(), reinterpret_cast<uint32_t*>(line) + lane);
}

void PackF32(const Job& job) {
  for (int l = 0; l < job.layout.lines; ++l) {
    for (int lane = 0; lane < kWordsPerLine; lane += kLanes) {
      StoreWords(hn::BitCast(DU(), job.LoadX(l * kWordsPerLine + lane)), job.line(l), lane);
    }
  }
}

// To nearest, ties to even; a NaN stays one.
HWY_INLINE VU BF16Bits(VF x) {
  const DU du;
  const VU bits = hn::BitCast(du, x);
  const VU odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const VU rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7fff)), odd);
  const VU quiet = hn::Or(bits, hn::Set(du, 0x400000));
  return hn::ShiftRight<16>(hn::IfThenElse(hn::RebindMask(du, hn::Ne(x, x)), quiet, rounded));
}

void PackBF16(const Job& job) {
  for (int l = 0; l < job.layout.lines; ++l) {
    for (int lane = 0; lane < kWordsPerLine; lane += kLanes) {
      const int i = l * ElementsPerLine(ExpertFormat::kBF16) + lane;
      const VU low = BF16Bits(job.LoadX(i)), high = BF16Bits(job.LoadX(i + kWordsPerLine));
      StoreWords(hn::Or(low, hn::ShiftLeft<16>(high)), job.line(l), lane);
    }
  }
}

// Magnitudes compare as their bits do, and NaN is above infinity.
float LargestMagnitude(const Job& job) {
  const DI di;
  VI most = hn::Zero(di);
  for (int i = 0; i < job.width; i += kLanes) {
    most = hn::Max(most, hn::BitCast(di, hn::Abs(job.LoadX(i))));
  }
  return hn::GetLane(hn::BitCast(DF(), hn::MaxOfLanes(di, most)));
}

void PackInt8(const Job& job) {
  const DU du;
  const float largest = LargestMagnitude(job);
  const bool finite = largest <= std::numeric_limits<float>::max();
  const bool scaled = finite && largest > kLeastScaled;
  const float scale = scaled ? largest / 127 : finite ? 0 : kNaN;
  std::memcpy(job.record + job.vector * sizeof scale, &scale, sizeof scale);
  const VF inverse = hn::Set(DF(), scaled ? 127 / largest : 0);
  const VU byte = hn::Set(du, 0xff);
  for (int l = 0; l < job.layout.lines; ++l) {
    for (int lane = 0; lane < kWordsPerLine; lane += kLanes) {
      VU words = hn::Zero(du);
      for (int slice = 0; slice < 4 && finite; ++slice) {
        const VF x = job.LoadX((l * 4 + slice) * kWordsPerLine + lane);
        const VI quant = hn::NearestInt(hn::Mul(x, inverse));
        words = hn::Or(words, hn::ShiftLeftSame(hn::And(hn::BitCast(du, quant), byte), 8 * slice));
      }
      StoreWords(words, job.line(l), lane);
    }
  }
}

// The bits of e4m3 that are nearest, ties to even, of at most 448 but for a rounding.
HWY_INLINE VU E4m3Bits(VF x) {
  const DF df;
  const DU du;
  const VF magnitude = hn::Abs(x);
  const VU bits = hn::BitCast(du, magnitude);
  const VU sign = hn::ShiftLeft<7>(hn::ShiftRight<31>(hn::BitCast(du, x)));
  const VU odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(du, 1));
  const VU rounded = hn::ShiftRight<20>(hn::Add(hn::Add(bits, hn::Set(du, 0x7ffff)), odd));
  const VU normal = hn::Sub(rounded, hn::Set(du, (127 - 7) << 3));
  const VU subnormal = hn::BitCast(du, hn::NearestInt(hn::Mul(magnitude, hn::Set(df, 0x1p9f))));
  const auto is_small = hn::RebindMask(du, hn::Lt(magnitude, hn::Set(df, 0x1p-6f)));
  return hn::Or(sign, hn::IfThenElse(is_small, subnormal, normal));
}

void PackFp8(const Job& job) {
  const DU du;
  constexpr float kLargest = 448;
  const float largest = LargestMagnitude(job);
  const bool finite = largest <= std::numeric_limits<float>::max();
  const bool scaled = finite && largest > kLeastScaled;
  const float scale = scaled ? largest / kLargest : finite ? 0 : kNaN;
  std::memcpy(job.record + job.vector * sizeof scale, &scale, sizeof scale);
  const VF inverse = hn::Set(DF(), scaled ? kLargest / largest : 0);
  for (int l = 0; l < job.layout.lines; ++l) {
    for (int lane = 0; lane < kWordsPerLine; lane += kLanes) {
      VU words = hn::Zero(du);
      for (int slice = 0; slice < 4 && finite; ++slice) {
        const VF x = job.LoadX((l * 4 + slice) * kWordsPerLine + lane);
        words = hn::Or(words, hn::ShiftLeftSame(E4m3Bits(hn::Mul(x, inverse)), 8 * slice));
      }
      StoreWords(words, job.line(l), lane);
    }
  }
}

// The nearest of -8..7. Adding 1.5 * 2^23 leaves the integer in the low bits.
HWY_INLINE VF RoundToInt4(VF x) {
  const VF magic = hn::Set(DF(), 12582912.0f);
  const VF rounded = hn::Sub(hn::Add(x, magic), magic);
  return hn::Min(hn::Max(rounded, hn::Set(DF(), -8.0f)), hn::Set(DF(), 7.0f));
}

constexpr int kSegmentSlices = 4 * 8;  // lines times slices: elements of a group

// The scales of kLanes groups that begin at element `first`. The value of the largest magnitude
// falls on about -8 (the scale has its sign): of three grids and, for each, the scale with the
// least squared error, the best. That error is a sixth below that of rounding to +-7.
VF Int4Scales(const Job& job, int first) {
  const DF df;
  VF most = hn::Zero(df), poison = hn::Zero(df);
  for (int i = 0; i < kSegmentSlices; ++i) {
    const VF x = job.LoadX(first + i * kWordsPerLine);
    most = hn::IfThenElse(hn::Gt(hn::Abs(x), hn::Abs(most)), x, most);
    poison = hn::Add(poison, hn::Mul(x, hn::Zero(df)));
  }
  const auto scaled = hn::Gt(hn::Abs(most), hn::Set(df, kLeastScaled));
  const VF inverse = hn::IfThenElseZero(scaled, hn::Div(hn::Set(df, 1.0f), most));
  VF best = hn::Zero(df), best_scale = hn::Zero(df);
  for (const float steps : {-8.0f, -7.3f, -8.7f}) {
    VF qx = hn::Zero(df), qq = hn::Zero(df);
    for (int i = 0; i < kSegmentSlices; ++i) {
      const VF x = hn::Mul(job.LoadX(first + i * kWordsPerLine), inverse);
      const VF q = RoundToInt4(hn::Mul(x, hn::Set(df, steps)));
      qx = FusedMulAdd(df, q, x, qx);
      qq = FusedMulAdd(df, q, q, qq);
    }
    const VF scale = hn::Div(qx, qq);    // least squares
    const VF gain = hn::Mul(qx, scale);  // what it takes off the sum of x^2
    const auto better = hn::Gt(gain, best);
    best = hn::IfThenElse(better, gain, best);
    best_scale = hn::IfThenElse(better, scale, best_scale);
  }
  return hn::Add(hn::IfThenElseZero(scaled, hn::Mul(best_scale, most)), poison);
}

// Returns the scales as they are stored, having put them into the record.
HWY_INLINE VF StoreInt4Scales(const Job& job, VF scales, int segment, int lane) {
  const DU du;
  const size_t offset = job.layout.ScalesOffset(job.vector, segment);
  const VU bits = BF16Bits(scales);
  auto* words = reinterpret_cast<uint32_t*>(job.record + offset / kLineBytes * kLineBytes) + lane;
  const bool high = offset % 4 != 0;
  const VU other = hn::And(hn::LoadU(du, words), hn::Set(du, high ? 0xffff : 0xffff0000));
  hn::StoreU(hn::Or(other, hn::ShiftLeftSame(bits, high ? 16 : 0)), du, words);
  return hn::BitCast(DF(), hn::ShiftLeft<16>(bits));
}

void PackInt4(const Job& job) {
  const DF df;
  const DU du;
  constexpr int kLines = LinesPerSegment(ExpertFormat::kInt4);
  constexpr int kLineElements = ElementsPerLine(ExpertFormat::kInt4);
  for (int segment = 0; segment < job.layout.segments; ++segment) {
    for (int lane = 0; lane < kWordsPerLine; lane += kLanes) {
      const VF scales = StoreInt4Scales(
          job, Int4Scales(job, segment * kLines * kLineElements + lane), segment, lane);
      const VF magnitude = hn::Abs(scales);
      const auto scaled = hn::Gt(magnitude, hn::Zero(df));  // not NaN
      const VF inverse = hn::IfThenElseZero(scaled, hn::Div(hn::Set(df, 1.0f), scales));
      const int end = std::min(job.layout.lines, (segment + 1) * kLines);
      for (int l = segment * kLines; l < end; ++l) {
        VU words = hn::Zero(du);
        for (int slice = 0; slice < 8; ++slice) {
          const VF x = job.LoadX(l * kLineElements + slice * kWordsPerLine + lane);
          const VI quant =
              hn::NearestInt(RoundToInt4(hn::IfThenElseZero(scaled, hn::Mul(x, inverse))));
          const VU nibble = hn::And(hn::BitCast(du, quant), hn::Set(du, 15));
          words = hn::Or(words, hn::ShiftLeftSame(nibble, 8 * (slice % 4) + slice / 4 * 4));
        }
        StoreWords(words, job.line(l), lane);
      }
    }
  }
}

void PackExpertsTarget(const PackExpertsArgs& args, uint8_t* records) {
  const size_t record_bytes = args.shape.RecordBytes();
  Job job{ExpertRecordLayout(args.shape), args.shape.width, args.vector, args.rows,
          records + args.first * record_bytes};
  for (int64_t i = 0; i < args.count; ++i) {
    switch (args.shape.format) {
      case ExpertFormat::kF32:
        PackF32(job);
        break;
      case ExpertFormat::kBF16:
        PackBF16(job);
        break;
      case ExpertFormat::kInt8:
        PackInt8(job);
        break;
      case ExpertFormat::kInt4:
        PackInt4(job);
        break;
      case ExpertFormat::kFp8:
        PackFp8(job);
        break;
    }
    job.x += job.width;
    job.record += record_bytes;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(PackExpertsTarget);

void PackExperts(const PackExpertsArgs& args, uint8_t* records) {
  HWY_DYNAMIC_DISPATCH(PackExpertsTarget)(args, records);
}

}  // namespace peerage::kernels
#endif
