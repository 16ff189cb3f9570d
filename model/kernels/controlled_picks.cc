#include "model/kernels/controlled_picks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "model/experts/expert_usage.h"
#include "model/kernels/best_k.h"
#include "model/kernels/logits.h"
#include "model/kernels/product_keys.h"

namespace peerage::kernels {
namespace {

// The sub-keys of both halves, of which the best so many are in order.
class HalfLists {
 public:
  explicit HalfLists(const ControlledPicksArgs& args) : n_(args.scores[0].size()) {
    for (int half = 0; half < 2; ++half) {
      scores_[half] = args.scores[half];
      order_[half] = args.scratch.subspan(half * n_, n_);
      std::iota(order_[half].begin(), order_[half].end(), 0u);
    }
  }

  size_t n() const { return n_; }
  size_t listed() const { return listed_; }
  void Extend(size_t listed) {
    listed_ = std::min(listed, n_);
    for (int half = 0; half < 2; ++half) {
      // One more, which says what is outside.
      std::partial_sort(order_[half].begin(), order_[half].begin() + std::min(listed_ + 1, n_),
                        order_[half].end(), [scores = scores_[half]](uint32_t a, uint32_t b) {
                          return Before({scores[a], a}, {scores[b], b});
                        });
    }
  }

  float Sum(size_t i, size_t j) const {
    return scores_[0][order_[0][i]] + scores_[1][order_[1][j]];
  }
  uint32_t Expert(size_t i, size_t j) const {
    return static_cast<uint32_t>(order_[0][i] * n_ + order_[1][j]);
  }
  // Of the pairs outside the lists; NaN when that is what comes next. Precondition: listed() < n().
  float LargestSumOutside() const { return std::max(Sum(0, listed_), Sum(listed_, 0)); }

 private:
  const size_t n_;
  size_t listed_ = 0;
  std::span<const float> scores_[2];
  std::span<uint32_t> order_[2];
};

float SumOf(const ControlledPicksArgs& args, uint32_t id) {
  const uint32_t expert = id - args.first_id;
  const auto n = static_cast<uint32_t>(args.scores[0].size());
  return args.scores[0][expert / n] + args.scores[1][expert % n];
}

// The part of a control's biases that is for the experts of a head.
std::span<const ExpertBias> BiasesOf(const ControlledPicksArgs& args) {
  const auto before = [](const ExpertBias& bias, uint64_t id) { return bias.id < id; };
  const std::vector<ExpertBias>& all = args.control->biases;
  const uint64_t n = args.scores[0].size(), end_id = args.first_id + n * n;
  const auto first = std::lower_bound(all.begin(), all.end(), uint64_t{args.first_id}, before);
  return {first, std::lower_bound(first, all.end(), end_id, before)};
}

const ExpertBias* Find(std::span<const ExpertBias> biases, uint32_t id) {
  const auto bias =
      std::lower_bound(biases.begin(), biases.end(), id,
                       [](const ExpertBias& b, uint32_t wanted) { return b.id < wanted; });
  return bias != biases.end() && bias->id == id ? &*bias : nullptr;
}

// Rows of the lists' pairs, each as far as its sums can be among the best.
void OfferListed(const ControlledPicksArgs& args, const HalfLists& lists, BestK& best) {
  const std::span<const ExpertBias> biases = BiasesOf(args);
  for (size_t i = 0; i < lists.listed(); ++i) {
    for (size_t j = 0; j < lists.listed(); ++j) {
      const float sum = lists.Sum(i, j);
      if (best.full() && sum < best.worst()) break;
      const uint32_t id = args.first_id + lists.Expert(i, j);
      if (!args.control->masks(id) && Find(biases, id) == nullptr) best.Offer({sum, id});
    }
  }
}

void OfferBiased(const ControlledPicksArgs& args, BestK& best) {
  for (const auto& [id, logit] : BiasesOf(args)) {
    if (!args.control->masks(id)) best.Offer({SumOf(args, id) + logit, id});
  }
}

double LogSumOfExps(std::span<const float> scores) {
  const double most = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const float score : scores) sum += std::exp(score - most);
  return most + std::log(sum);
}

// By what biases raise the logarithm of the sum over all experts' exponentials.
double RaiseOf(const ControlledPicksArgs& args, std::span<const ExpertBias> biases,
               std::span<const Scored> picks) {
  if (biases.empty()) return 0;
  const double all = LogSumOfExps(args.scores[0]) + LogSumOfExps(args.scores[1]);
  double total = 1, picked = 0;
  for (const auto& [id, logit] : biases) {
    total += std::exp(SumOf(args, id) - all) * std::expm1(double{logit});
  }
  for (const Scored& pick : picks) picked += std::exp(pick.value - all);
  return std::log(std::max(total, picked));  // rounding leaves no less than the picks' own
}

// The logarithms of what the halves' softmaxes give to the picks, biases counted with the first.
void TakeLogs(const ControlledPicksArgs& args, std::span<const ExpertBias> biases,
              std::span<const Scored> picks, float (&logs)[2][kMaxTopK]) {
  const size_t n = args.scores[0].size();
  const float log_sums[] = {LogSumExp(args.scores[0]), LogSumExp(args.scores[1])};
  const auto raise = static_cast<float>(RaiseOf(args, biases, picks));
  for (size_t i = 0; i < picks.size(); ++i) {
    const uint32_t expert = picks[i].id - args.first_id;
    const ExpertBias* bias = Find(biases, picks[i].id);
    logs[0][i] = args.scores[0][expert / n] - log_sums[0];
    logs[0][i] += (bias == nullptr ? 0 : bias->logit) - raise;
    logs[1][i] = args.scores[1][expert % n] - log_sums[1];
  }
}

// `biases` are in the picks' values.
void Weigh(const ControlledPicksArgs& args, std::span<const ExpertBias> biases,
           std::span<const Scored> picks) {
  alignas(64) float sums[kMaxTopK] = {}, logs[2][kMaxTopK] = {};
  float highest = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < picks.size(); ++i) {
    sums[i] = picks[i].value;
    highest = std::max(sums[i], highest);  // a NaN in front, too
  }
  if (args.score == RouterScore::kJointSoftmax) TakeLogs(args, biases, picks, logs);
  WeighPicks({.score = args.score,
              .k = static_cast<int>(picks.size()),
              .sums = sums,
              .highest = highest,
              .log_probabilities = {logs[0], logs[1]},
              .weights = args.weights});
  std::fill(args.weights + picks.size(), args.weights + args.k, 0.0f);
}

bool ConcernsPicks(const ControlledPicksArgs& args) {
  const LayerControl& control = *args.control;
  return (control.top_k != 0 && control.top_k < static_cast<uint32_t>(args.k)) ||
         !BiasesOf(args).empty() ||
         std::any_of(args.ids, args.ids + args.k, [&](uint32_t id) { return control.masks(id); });
}

}  // namespace

// A list of each half's best sub-keys is searched, as without control: k of them suffice when no
// expert of theirs is masked. They grow for as long as one outside could be among the best.
void PickUnderControl(const ControlledPicksArgs& args) {
  if (!ConcernsPicks(args)) return;
  const uint32_t top_k = args.control->top_k;
  const int wanted = top_k == 0 ? args.k : static_cast<int>(top_k);
  HalfLists lists(args);
  lists.Extend(args.k);
  for (;;) {
    BestK best(wanted);
    OfferListed(args, lists, best);
    OfferBiased(args, best);
    const bool complete =
        lists.listed() == lists.n() || (best.full() && lists.LargestSumOutside() < best.worst());
    if (!complete) {
      lists.Extend(2 * lists.listed());
      continue;
    }
    const std::span<const Scored> picks = best.Sort();
    for (size_t i = 0; i < picks.size(); ++i) args.ids[i] = picks[i].id;
    std::fill(args.ids + picks.size(), args.ids + args.k, kNoExpert);
    return Weigh(args, BiasesOf(args), picks);
  }
}

void WeighForcedPicks(const ControlledPicksArgs& args) {
  Scored picks[kMaxTopK];
  size_t count = 0;
  for (; count < static_cast<size_t>(args.k) && args.ids[count] != kNoExpert; ++count) {
    picks[count] = {SumOf(args, args.ids[count]), args.ids[count]};
  }
  Weigh(args, {}, {picks, count});
}

}  // namespace peerage::kernels
