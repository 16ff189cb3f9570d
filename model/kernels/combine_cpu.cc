// The k best sums of two sorted lists: of the staircase's pairs, those whose sums reach a bound
// that k of them reach are collected and sorted by counting.
#include <algorithm>
#include <cmath>

#include "model/kernels/best_k.h"
#include "model/kernels/product_keys.h"
#include "model/kernels/staircase.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/combine_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/best_k-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

// A row's picks, best first.
struct Picks {
  alignas(64) float sums[kMaxTopK];
  Pair pairs[kMaxTopK];
};

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// Pairs of one position in a list with [begin, end) of the other.
struct Strip {
  float value;  // of the one position
  const float* others;
  uint32_t code;  // of the pair with the other list's first
  int begin, end;
};

// Appends the pairs whose sums reach the bound; returns how many there are then. kStep: what the
// code grows by from one to the next.
template <uint32_t kStep>
HWY_INLINE int AppendStrip(const Strip& strip, float bound, Candidates& c, int count) {
  const DF d;
  const DU du;
  const VU steps = hn::Mul(hn::Iota(du, 0), hn::Set(du, kStep));
  for (int at = strip.begin; at < strip.end && count <= Candidates::kCapacity; at += kLanes) {
    const int left = strip.end - at;
    const VF sums = hn::Add(hn::Set(d, strip.value), LoadFirst(d, strip.others + at, left));
    const VU codes = hn::Add(steps, hn::Set(du, strip.code + at * kStep));
    const auto keep = hn::And(hn::Ge(sums, hn::Set(d, bound)), FirstLanes(d, left));
    Append(d, sums, keep, c.values, count);
    count = Append(du, codes, hn::RebindMask(du, keep), c.sources, count);
  }
  return count;
}

// False where equal sums or infinities leave the order open.
bool Pick(const Halves& halves, const Staircase& staircase, int k, Picks& picks) {
  if (!halves.Finite()) return false;
  constexpr uint32_t kRowStep = PairCode({0, 1}), kColumnStep = PairCode({1, 0});
  const float* first = halves.values(0);
  const float* second = halves.values(1);
  const float bound = halves.LargestSum(staircase.reached());
  Candidates c;
  int count = 0;
  for (int i = 0; i < staircase.steps(); ++i) {
    const int end = staircase.end(i);
    count = AppendStrip<kRowStep>({first[i], second, PairCode({i, 0}), i, end}, bound, c, count);
    count =
        AppendStrip<kColumnStep>({second[i], first, PairCode({0, i}), i + 1, end}, bound, c, count);
  }
  c.count = count;
  uint32_t order[Candidates::kCapacity];
  if (c.count > Candidates::kCapacity || !RankByCounting(c, order)) return false;
  for (int i = 0; i < k; ++i) {
    picks.sums[i] = c.values[order[i]];
    picks.pairs[i] = PairOf(c.sources[order[i]]);
  }
  return halves.LargestSum(staircase.outside()) < picks.sums[k - 1];
}

#else

bool Pick(const Halves&, const Staircase&, int, Picks&) { return false; }

#endif  // HWY_TARGET

// One by one: where sums are equal, ids decide; and with infinities or NaN, sums are not sorted.
void PickFromAll(const Halves& halves, int k, Picks& picks) {
  BestK best(k);
  for (int i = 0; i < halves.listed(); ++i) {
    for (int j = 0; j < halves.listed(); ++j) {
      best.Offer({halves.Sum({i, j}), halves.Expert({i, j}), PairCode({i, j})});
    }
  }
  int n = 0;
  for (const Scored& scored : best.Sort()) {
    picks.sums[n] = scored.value;
    picks.pairs[n++] = PairOf(scored.source);
  }
}

void Softmax(const WeighArgs& a) {
  const DF d;
  alignas(64) float exponentials[kMaxTopK];
  alignas(64) float partial_sums[kPartialSums] = {};
  for (int i = 0; i < a.k; i += kLanes) {
    const VF x = hn::Sub(hn::Load(d, a.sums + i), hn::Set(d, a.highest));
    const VF e = hn::IfThenElseZero(FirstLanes(d, a.k - i), Exp(d, x));
    hn::Store(e, d, exponentials + i);
    float* partial = partial_sums + i % kPartialSums;
    hn::Store(hn::Add(hn::Load(d, partial), e), d, partial);
  }
  const VF total = hn::Set(d, AddPartialSums(partial_sums));
  for (int i = 0; i < a.k; i += kLanes) {
    StoreFirst(hn::Div(hn::Load(d, exponentials + i), total), d, a.weights + i, a.k - i);
  }
}

void Sigmoid(const WeighArgs& a) {
  const DF d;
  const VF one = hn::Set(d, 1.0f);
  for (int i = 0; i < a.k; i += kLanes) {
    const VF e = Exp(d, hn::Neg(hn::Load(d, a.sums + i)));
    StoreFirst(hn::Div(one, hn::Add(one, e)), d, a.weights + i, a.k - i);
  }
}

void Relu(const WeighArgs& a) {
  for (int i = 0; i < a.k; ++i) a.weights[i] = a.sums[i] < 0 ? 0 : a.sums[i];
}

void JointSoftmax(const WeighArgs& a) {
  const DF d;
  for (int i = 0; i < a.k; i += kLanes) {
    const VF first = Exp(d, hn::Load(d, a.log_probabilities[0] + i));
    const VF second = Exp(d, hn::Load(d, a.log_probabilities[1] + i));
    StoreFirst(hn::Mul(first, second), d, a.weights + i, a.k - i);
  }
}

void WeighPicksTarget(const WeighArgs& a) {
  switch (a.score) {
    case RouterScore::kSoftmax:
      return Softmax(a);
    case RouterScore::kSigmoid:
      return Sigmoid(a);
    case RouterScore::kRelu:
      return Relu(a);
    case RouterScore::kJointSoftmax:
      return JointSoftmax(a);
  }
}

void Weigh(const CombineArgs& a, int row, const Picks& picks) {
  const Halves halves(a, row);
  alignas(64) float logs[2][kMaxTopK];
  for (int i = 0; a.score == RouterScore::kJointSoftmax && i < a.k; ++i) {
    logs[0][i] = halves.values(0)[picks.pairs[i].i] - a.log_sum_exp[0][row];
    logs[1][i] = halves.values(1)[picks.pairs[i].j] - a.log_sum_exp[1][row];
  }
  WeighPicksTarget({.score = a.score,
                    .k = a.k,
                    .sums = picks.sums,
                    .highest = picks.sums[0],
                    .log_probabilities = {logs[0], logs[1]},
                    .weights = a.weights + row * a.out_stride});
}

void CombineHalvesTarget(const CombineArgs& a) {
  const Staircase staircase(a.k, a.listed);
  for (int row = 0; row < a.rows; ++row) {
    const Halves halves(a, row);
    Picks picks;
    if (!Pick(halves, staircase, a.k, picks)) PickFromAll(halves, a.k, picks);
    uint32_t* ids = a.expert_ids + row * a.out_stride;
    for (int i = 0; i < a.k; ++i) ids[i] = a.first_id + halves.Expert(picks.pairs[i]);
    Weigh(a, row, picks);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(CombineHalvesTarget);
HWY_EXPORT(WeighPicksTarget);

void CombineHalves(const CombineArgs& args) { HWY_DYNAMIC_DISPATCH(CombineHalvesTarget)(args); }

void WeighPicks(const WeighArgs& args) { HWY_DYNAMIC_DISPATCH(WeighPicksTarget)(args); }

}  // namespace peerage::kernels
#endif
