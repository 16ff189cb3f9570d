// A vector of ids at a time is compared with the range, and those inside are pressed together with
// their weights into a small list whose counters are fetched at once: each is most likely far away.
// The list is counted when it is full, by which time they have arrived.
#include <cstdint>
#include <limits>

#include "model/kernels/expert_counting.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/expert_counting_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

using DU = hn::ScalableTag<uint32_t>;
using DF = hn::ScalableTag<float>;

constexpr int kLanes = HWY_LANES(uint32_t);
constexpr int kListed = 128;

// ExpertScore of a weight that is cut already: the product is exact in double, and the sum as far
// as it matters.
HWY_INLINE uint64_t FixedPoint(float weight) {
  constexpr double kUnitsOfOne = 1 / ExpertCount::kUnit;
  return static_cast<uint64_t>(static_cast<double>(weight) * kUnitsOfOne + 0.5);
}

// Picks whose counters are on their way.
class PendingPicks {
 public:
  PendingPicks(const CountArgs& args, SpilledCounts& spilled)
      : counters_(args.counters), step_(args.step), spilled_(spilled) {}

  HWY_INLINE void Append(hn::Vec<DU> ids, hn::Vec<DF> weights, hn::Mask<DU> wanted) {
    const size_t count = hn::CountTrue(DU(), wanted);
    // Compressed in registers: compressing stores are slow on some CPUs.
    hn::StoreU(hn::Compress(ids, wanted), DU(), ids_ + size_);
    hn::StoreU(hn::Compress(weights, hn::RebindMask(DF(), wanted)), DF(), weights_ + size_);
    // Into the L2 cache: the L1 cache has room for few lines on their way.
    for (size_t i = 0; i < count; ++i) {
      __builtin_prefetch(counters_ + ids_[size_ + i], /*rw=*/0, /*locality=*/2);
    }
    size_ += count;
    if (size_ >= kListed) Count();
  }

  void Count() {
    for (size_t i = 0; i < size_; ++i) {
      ExpertCounter& counter = counters_[ids_[i]];
      const uint64_t selections = counter.selections + uint64_t{1};
      const uint64_t score = counter.score + FixedPoint(weights_[i]);
      different_ += counter.step != step_;
      if (HWY_UNLIKELY(selections > ExpertCounter::kMostSelections || score > kMostScore)) {
        Spill(ids_[i], {selections, score});
        counter = {.selections = 0, .step = step_, .score = 0};
      } else {
        counter = {.selections = static_cast<uint32_t>(selections),
                   .step = step_,
                   .score = static_cast<uint32_t>(score)};
      }
    }
    size_ = 0;
  }

  int64_t different() const { return different_; }  // of the experts counted

 private:
  static constexpr uint64_t kMostScore = std::numeric_limits<uint32_t>::max();

  HWY_NOINLINE void Spill(uint32_t id, const ExpertCount& count) {
    ExpertCount& spilled = spilled_[id];
    spilled.selections += count.selections;
    spilled.score += count.score;
  }

  ExpertCounter* counters_;
  const uint32_t step_;
  SpilledCounts& spilled_;
  int64_t different_ = 0;
  size_t size_ = 0;
  uint32_t ids_[kListed + kLanes];  // a whole vector is stored behind the last
  float weights_[kListed + kLanes];
};

int64_t CountExpertsTarget(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                           SpilledCounts& spilled) {
  const DU du;
  const DF df;
  const auto first = hn::Set(du, first_id), size = hn::Set(du, end_id - first_id);
  PendingPicks pending(args, spilled);
  for (int64_t i = 0; i < args.picks; i += kLanes) {
    const auto there = FirstLanes(du, args.picks - i);
    const auto ids = LoadFirst(du, args.ids + i, args.picks - i);
    const auto inside = hn::And(there, hn::Lt(hn::Sub(ids, first), size));
    if (hn::AllFalse(du, inside)) continue;
    const auto weights = LoadFirst(df, args.weights + i, args.picks - i);
    const auto positive = hn::Gt(weights, hn::Zero(df));  // not NaN
    const auto cut = hn::Min(weights, hn::Set(df, ExpertCount::kMaxWeight));
    pending.Append(ids, hn::IfThenElseZero(positive, cut), inside);
  }
  pending.Count();
  return pending.different();
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(CountExpertsTarget);

int64_t CountExperts(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                     SpilledCounts& spilled) {
  return HWY_DYNAMIC_DISPATCH(CountExpertsTarget)(args, first_id, end_id, spilled);
}

}  // namespace peerage::kernels
#endif
