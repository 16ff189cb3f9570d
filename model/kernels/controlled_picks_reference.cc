#include <algorithm>
#include <cmath>
#include <vector>

#include "model/experts/expert_usage.h"
#include "model/kernels/best_k.h"
#include "model/kernels/controlled_picks.h"

namespace peerage::kernels {
namespace {

// Every expert of the head, with its own sum.
std::vector<Scored> AllExperts(const ControlledPicksArgs& args) {
  std::vector<Scored> all;
  uint32_t id = args.first_id;
  for (const float first : args.scores[0]) {
    for (const float second : args.scores[1]) all.push_back({first + second, id++});
  }
  return all;
}

double ReferenceWeight(RouterScore score, const std::vector<Scored>& all,
                       const std::vector<Scored>& picks, double sum) {
  const auto share = [sum](const std::vector<Scored>& experts) {
    double total = 0;
    for (const Scored& expert : experts) total += std::exp(expert.value - sum);
    return 1 / total;
  };
  switch (score) {
    case RouterScore::kSoftmax:
      return share(picks);
    case RouterScore::kSigmoid:
      return 1 / (1 + std::exp(-sum));
    case RouterScore::kRelu:
      return std::max(sum, 0.0);
    case RouterScore::kJointSoftmax:
      return share(all);
  }
  return 0;
}

void WritePicks(const ControlledPicksArgs& args, const std::vector<Scored>& all,
                const std::vector<Scored>& picks) {
  for (int i = 0; i < args.k; ++i) {
    const bool is_pick = i < static_cast<int>(picks.size());
    args.ids[i] = is_pick ? picks[i].id : kNoExpert;
    args.weights[i] =
        is_pick
            ? static_cast<float>(ReferenceWeight(args.score, all, picks, double{picks[i].value}))
            : 0.0f;
  }
}

}  // namespace

void PickUnderControlReference(const ControlledPicksArgs& args) {
  std::vector<Scored> all = AllExperts(args);
  for (const auto& [id, logit] : args.control->biases) {
    if (id >= args.first_id && id - args.first_id < all.size()) {
      all[id - args.first_id].value += logit;
    }
  }
  std::vector<Scored> picks;
  for (const Scored& expert : all) {
    if (!args.control->masks(expert.id)) picks.push_back(expert);
  }
  std::sort(picks.begin(), picks.end(), Before);
  const size_t wanted = args.control->top_k == 0 ? args.k : args.control->top_k;
  picks.resize(std::min(picks.size(), wanted));
  WritePicks(args, all, picks);
}

void WeighForcedPicksReference(const ControlledPicksArgs& args) {
  const std::vector<Scored> all = AllExperts(args);
  std::vector<Scored> picks;
  for (int i = 0; i < args.k && args.ids[i] != kNoExpert; ++i) {
    picks.push_back(all[args.ids[i] - args.first_id]);
  }
  WritePicks(args, all, picks);
}

}  // namespace peerage::kernels
