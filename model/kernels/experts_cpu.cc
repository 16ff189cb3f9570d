#include <algorithm>
#include <cstring>

#include "model/experts/expert_usage.h"
#include "model/kernels/expert_record.h"
#include "model/kernels/experts.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/experts_cpu.cc"
#define HWY_WANT_AVX3_DL  // Highway 1.0.3 leaves it out unless asked
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/activation-inl.h"
#include "model/kernels/expert_dots-inl.h"
#include "model/kernels/expert_lines-inl.h"
#include "model/kernels/vector_math-inl.h"

PEERAGE_BEFORE_EXPERTS();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

// Streams from memory that loads of x and y serve together.
constexpr int kRecordsAtOnce = HWY_TARGET < HWY_AVX2 ? 8 : 4;
constexpr int kMostPicks = 16;  // of a group

// Picks whose dots, activations and sums alternate. Records are fetched that many picks ahead.
template <ExpertFormat kFormat>
constexpr int kGroup = kFormat == ExpertFormat::kInt4 ? 16 : 8;

// sum += c[i] * (a vector of record i), for N records in order.
template <ExpertFormat kFormat, int N>
HWY_INLINE void AddVectors(const ExpertRecordLayout& layout, const VectorStreams& streams,
                           const float* c, float* sum) {
  const DF df;
  constexpr bool kLaneScales = kFormat == ExpertFormat::kInt4;
  const size_t begin = layout.VectorOffset(streams.vector);
  for (int segment = 0; segment < layout.segments; ++segment) {
    VF factor[N][kLaneScales ? kVectors : 1];
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      const uint8_t* record = streams.records[i];
      float unit = c[i];
      if constexpr (HasVectorScale(kFormat)) unit *= LoadVectorScale(record, streams.vector);
      if constexpr (IsInteger(kFormat)) unit *= 1 / kSliceUnit<kFormat>;
      PEERAGE_UNROLL for (int v = 0; v < (kLaneScales ? kVectors : 1); ++v) {
        factor[i][v] = hn::Set(df, unit);
        if constexpr (kLaneScales) {
          const size_t scales = layout.ScalesOffset(streams.vector, segment);
          factor[i][v] = hn::Mul(factor[i][v], LoadInt4Scales(record, scales, v));
        }
      }
    }
    const int end = std::min(layout.lines, (segment + 1) * LinesPerSegment(kFormat));
    for (int line = segment * LinesPerSegment(kFormat); line < end; ++line) {
      const size_t offset = begin + line * kLineBytes;
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        float* to = sum + line * ElementsPerLine(kFormat) + v * kLanes;
        VF y[kSlices<kFormat>];
        PEERAGE_UNROLL for (int s = 0; s < kSlices<kFormat>; ++s) {
          y[s] = hn::LoadU(df, to + s * kWordsPerLine);
        }
        PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
          if (v == 0) FetchLine(streams.ahead[i] + offset);
          VF w[kSlices<kFormat>];
          Expand<kFormat>(LoadWords(streams.records[i] + offset, v), w);
          PEERAGE_UNROLL for (int s = 0; s < kSlices<kFormat>; ++s) {
            y[s] = FusedMulAdd(df, w[s], factor[i][kLaneScales ? v : 0], y[s]);
          }
        }
        PEERAGE_UNROLL for (int s = 0; s < kSlices<kFormat>; ++s) {
          hn::StoreU(y[s], df, to + s * kWordsPerLine);
        }
      }
    }
  }
}

template <class Function>
HWY_INLINE void Activate(float* values) {
  for (int i = 0; i < kMostPicks; i += kLanes) {
    hn::StoreU(Function()(hn::LoadU(DF(), values + i)), DF(), values + i);
  }
}

void Activate(Activation function, float* values) {
  switch (function) {
    case Activation::kSilu:
      return Activate<Silu>(values);
    case Activation::kGelu:
      return Activate<Gelu>(values);
    case Activation::kGeluTanh:
      return Activate<GeluTanh>(values);
    case Activation::kRelu:
      return Activate<Relu>(values);
  }
}

// The heads of some tokens: their picks are one stream, in which each vector of a record is fetched
// while the same vector of a record before it is used.
template <ExpertFormat kFormat>
class PickStream {
 public:
  // Picks [first, end), in order.
  PickStream(const ExpertArgs& args, size_t first, size_t end)
      : args_(args), layout_(args.table), record_bytes_(args.table.RecordBytes()), end_(end) {
    for (size_t line = 0; line < record_bytes_; line += kLineBytes) {
      for (size_t i = first; i < std::min(end, first + kGroup<kFormat>); ++i) {
        FetchLine(Record(i) + line);
      }
    }
  }

  const ExpertRecordLayout& layout() const { return layout_; }
  int padded_width() const { return layout_.lines * ElementsPerLine(kFormat); }

  // sum [padded width] = the picks [pick, pick + top_k), as many as there are.
  void SumHead(const Token& token, size_t pick, float* sum) const {
    std::memset(sum, 0, padded_width() * sizeof(float));
    int picks = args_.top_k;
    while (picks > 0 && args_.ids[pick + picks - 1] == kNoExpert) --picks;
    for (int k = 0; k < picks; k += kGroup<kFormat>) {
      AddGroup(token, pick + k, std::min(kGroup<kFormat>, picks - k), sum);
    }
  }

 private:
  void AddGroup(const Token& token, size_t pick, int count, float* sum) const {
    const uint8_t *records[kMostPicks], *ahead[kMostPicks];
    for (int i = 0; i < count; ++i) {
      records[i] = Record(pick + i);
      const size_t next = pick + i + kGroup<kFormat>;
      ahead[i] = next < end_ ? Record(next) : records[i];
      for (size_t h = 0; h < layout_.header_bytes; h += kLineBytes) FetchLine(ahead[i] + h);
    }
    float c[kMostPicks] = {};
    std::copy_n(args_.weights + pick, count, c);
    const int last = args_.table.vectors() - 1;
    for (int vector = 0; vector < last; ++vector) {
      float dots[kMostPicks] = {};
      GroupDots(token, {records, ahead, vector}, count, dots);
      if (vector == 0) Activate(args_.activation, dots);
      for (int i = 0; i < count; ++i) c[i] *= dots[i];
    }
    AddGroupVectors({records, ahead, last}, count, c, sum);
  }

  void GroupDots(const Token& token, const VectorStreams& s, int count, float* dots) const {
    int i = 0;
    for (; i + kRecordsAtOnce <= count; i += kRecordsAtOnce) {
      Dots<kFormat, kRecordsAtOnce>(layout_, token, s.From(i), dots + i);
    }
    for (; i < count; ++i) Dots<kFormat, 1>(layout_, token, s.From(i), dots + i);
  }

  void AddGroupVectors(const VectorStreams& s, int count, const float* c, float* sum) const {
    int i = 0;
    for (; i + kRecordsAtOnce <= count; i += kRecordsAtOnce) {
      AddVectors<kFormat, kRecordsAtOnce>(layout_, s.From(i), c + i, sum);
    }
    for (; i < count; ++i) AddVectors<kFormat, 1>(layout_, s.From(i), c + i, sum);
  }

  const uint8_t* Record(size_t pick) const {
    const uint32_t id = args_.ids[pick];
    return args_.table.records + (id == kNoExpert ? 0 : id) * record_bytes_;  // fetched in vain
  }

  const ExpertArgs& args_;
  const ExpertRecordLayout layout_;
  const size_t record_bytes_;
  const size_t end_;
};

// A thread's memory: two sums, and a token.
struct Scratch {
  Scratch(uint8_t* p, int padded_width, int segments)
      : total(reinterpret_cast<float*>(p)),
        head(total + padded_width),
        token{head + padded_width,
              reinterpret_cast<uint8_t*>(head + padded_width + segments * kWordsPerLine),
              reinterpret_cast<int32_t*>(head + padded_width), 0} {}

  float* total;
  float* head;
  Token token;
};

template <ExpertFormat kFormat>
void Prepare(const ExpertArgs& args, const ExpertRecordLayout& layout, int token, Token& out) {
  if (args.table.kind == ExpertKind::kValue) return;
  PrepareToken<kFormat>(layout, args.x + token * args.x_stride, args.table.width, out);
}

template <ExpertFormat kFormat>
void AddExpertsOf(const ExpertArgs& args, int first, int end, uint8_t* memory) {
  const DF df;
  const size_t picks = static_cast<size_t>(args.heads) * args.top_k;
  if (first == end) return;
  const PickStream<kFormat> stream(args, first * picks, end * picks);
  const int width = args.table.width;
  Scratch scratch(memory, stream.padded_width(), stream.layout().segments);
  for (int token = first; token < end; ++token) {
    Prepare<kFormat>(args, stream.layout(), token, scratch.token);
    for (int head = 0; head < args.heads; ++head) {
      const size_t pick = token * picks + static_cast<size_t>(head) * args.top_k;
      stream.SumHead(scratch.token, pick, head == 0 ? scratch.total : scratch.head);
      if (head == 0) continue;
      for (int i = 0; i < width; i += kLanes) {
        const VF sum = hn::Add(hn::LoadU(df, scratch.total + i), hn::LoadU(df, scratch.head + i));
        hn::StoreU(sum, df, scratch.total + i);
      }
    }
    float* y = args.y + token * args.y_stride;
    for (int i = 0; i < width; i += kLanes) {
      const VF sum = hn::Add(LoadFirst(df, y + i, width - i), hn::LoadU(df, scratch.total + i));
      StoreFirst(sum, df, y + i, width - i);
    }
  }
}

template <ExpertFormat kFormat>
void ExpertHeadsOf(const ExpertArgs& args, const HeadArgs& which, float* sums, uint8_t* memory) {
  const size_t first_pick = static_cast<size_t>(which.token) * args.heads * args.top_k;
  const size_t top_k = args.top_k;
  if (which.first == which.end) return;
  const PickStream<kFormat> stream(args, first_pick + which.first * top_k,
                                   first_pick + which.end * top_k);
  Scratch scratch(memory, stream.padded_width(), stream.layout().segments);
  Prepare<kFormat>(args, stream.layout(), which.token, scratch.token);
  const size_t width = args.table.width;
  for (int head = which.first; head < which.end; ++head) {
    stream.SumHead(scratch.token, first_pick + head * top_k, scratch.head);
    std::memcpy(sums + head * width, scratch.head, width * sizeof(float));
  }
}

void AddExpertsTarget(const ExpertArgs& args, int first, int end, uint8_t* scratch) {
  switch (args.table.format) {
    case ExpertFormat::kF32:
      return AddExpertsOf<ExpertFormat::kF32>(args, first, end, scratch);
    case ExpertFormat::kBF16:
      return AddExpertsOf<ExpertFormat::kBF16>(args, first, end, scratch);
    case ExpertFormat::kInt8:
      return AddExpertsOf<ExpertFormat::kInt8>(args, first, end, scratch);
    case ExpertFormat::kInt4:
      return AddExpertsOf<ExpertFormat::kInt4>(args, first, end, scratch);
    case ExpertFormat::kFp8:
      return AddExpertsOf<ExpertFormat::kFp8>(args, first, end, scratch);
  }
}

void ExpertHeadsTarget(const ExpertArgs& args, const HeadArgs& which, float* sums,
                       uint8_t* scratch) {
  switch (args.table.format) {
    case ExpertFormat::kF32:
      return ExpertHeadsOf<ExpertFormat::kF32>(args, which, sums, scratch);
    case ExpertFormat::kBF16:
      return ExpertHeadsOf<ExpertFormat::kBF16>(args, which, sums, scratch);
    case ExpertFormat::kInt8:
      return ExpertHeadsOf<ExpertFormat::kInt8>(args, which, sums, scratch);
    case ExpertFormat::kInt4:
      return ExpertHeadsOf<ExpertFormat::kInt4>(args, which, sums, scratch);
    case ExpertFormat::kFp8:
      return ExpertHeadsOf<ExpertFormat::kFp8>(args, which, sums, scratch);
  }
}

void AddHeadSumsTarget(const ExpertArgs& args, int token, const float* sums) {
  const DF df;
  const size_t width = args.table.width;
  float* y = args.y + token * args.y_stride;
  for (size_t i = 0; i < width; i += kLanes) {
    VF total = LoadFirst(df, sums + i, width - i);
    for (int head = 1; head < args.heads; ++head) {
      total = hn::Add(total, LoadFirst(df, sums + head * width + i, width - i));
    }
    StoreFirst(hn::Add(LoadFirst(df, y + i, width - i), total), df, y + i, width - i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(AddExpertsTarget);
HWY_EXPORT(ExpertHeadsTarget);
HWY_EXPORT(AddHeadSumsTarget);

size_t ExpertScratchBytes(const ExpertTable& table) {
  const ExpertRecordLayout layout(table);
  const size_t padded = static_cast<size_t>(layout.lines) * ElementsPerLine(table.format);
  return (3 * padded) * sizeof(float);
}

void AddExperts(const ExpertArgs& args, int first, int end, uint8_t* scratch) {
  HWY_DYNAMIC_DISPATCH(AddExpertsTarget)(args, first, end, scratch);
}

void ExpertHeads(const ExpertArgs& args, const HeadArgs& which, float* partial_sums,
                 uint8_t* scratch) {
  HWY_DYNAMIC_DISPATCH(ExpertHeadsTarget)(args, which, partial_sums, scratch);
}

void AddHeadSums(const ExpertArgs& args, int token, const float* partial_sums) {
  HWY_DYNAMIC_DISPATCH(AddHeadSumsTarget)(args, token, partial_sums);
}

}  // namespace peerage::kernels
#endif
