#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "model/kernels/best_k.h"
#include "model/kernels/float16.h"
#include "model/kernels/product_keys.h"
#include "model/kernels/sub_keys.h"

namespace peerage::kernels {
namespace {

float Canonical(float value) {
  return std::isnan(value) ? std::numeric_limits<float>::quiet_NaN() : value;
}

std::vector<Scored> Best(std::vector<Scored> all, int k) {
  std::partial_sort(all.begin(), all.begin() + k, all.end(), Before);
  all.resize(k);
  return all;
}

double Weight(const CombineArgs& a, int row, const Scored& pick, const std::vector<Scored>& best) {
  const double sum = pick.value;
  switch (a.score) {
    case RouterScore::kSoftmax: {
      double total = 0;
      for (const Scored& b : best) total += std::exp(double{b.value} - best[0].value);
      return std::exp(sum - best[0].value) / total;
    }
    case RouterScore::kSigmoid:
      return 1 / (1 + std::exp(-sum));
    case RouterScore::kRelu:
      return sum < 0 ? 0 : sum;
    case RouterScore::kJointSoftmax: {
      const float* values = a.values + row * a.stride;
      const double first = values[pick.source / kMaxTopK];
      const double second = values[a.half_stride + pick.source % kMaxTopK];
      return std::exp(first - a.log_sum_exp[0][row]) * std::exp(second - a.log_sum_exp[1][row]);
    }
  }
  return 0;
}

}  // namespace

void TopKReference(const TopKArgs& a) {
  for (int r = 0; r < a.rows; ++r) {
    std::vector<Scored> all;
    for (int i = 0; i < a.n; ++i) {
      all.push_back({Canonical(a.scores[r * a.stride + i]), static_cast<uint32_t>(i)});
    }
    const std::vector<Scored> best = Best(std::move(all), a.k);
    for (int i = 0; i < a.k; ++i) {
      a.values[size_t(r) * a.k + i] = best[i].value;
      a.ids[size_t(r) * a.k + i] = static_cast<int32_t>(best[i].id);
    }
  }
}

void SubKeyTopKReference(const SubKeyTopKArgs& a) {
  std::vector<float> key(a.keys.width), scores(a.keys.n);
  for (int r = 0; r < a.rows; ++r) {
    for (int j = 0; j < a.keys.n; ++j) {
      UnpackRow(SubKeyTiles(a.keys), j, key.data());
      float score = 0;
      for (int i = 0; i < a.keys.width; ++i) {
        score = std::fma(key[i], a.queries[r * a.stride + i], score);
      }
      scores[j] = score;
    }
    TopKReference({.scores = scores.data(),
                   .rows = 1,
                   .n = a.keys.n,
                   .k = a.k,
                   .values = a.values + r * a.out_stride,
                   .ids = a.ids + r * a.out_stride});
    if (a.log_sum_exp == nullptr) continue;
    double total = 0;
    for (const float s : scores) total += std::exp(double{s} - a.values[r * a.out_stride]);
    a.log_sum_exp[r] = static_cast<float>(a.values[r * a.out_stride] + std::log(total));
  }
}

void CombineHalvesReference(const CombineArgs& a) {
  for (int r = 0; r < a.rows; ++r) {
    const float* values = a.values + r * a.stride;
    const int32_t* ids = a.ids + r * a.stride;
    std::vector<Scored> all;
    for (int i = 0; i < a.listed; ++i) {
      for (int j = 0; j < a.listed; ++j) {
        all.push_back({Canonical(values[i] + values[a.half_stride + j]),
                       static_cast<uint32_t>(ids[i]) * a.n + ids[a.half_stride + j],
                       static_cast<uint32_t>(i * kMaxTopK + j)});
      }
    }
    const std::vector<Scored> best = Best(std::move(all), a.k);
    for (int i = 0; i < a.k; ++i) {
      a.expert_ids[r * a.out_stride + i] = a.first_id + best[i].id;
      const double weight = Weight(a, r, best[i], best);
      a.weights[r * a.out_stride + i] = Canonical(static_cast<float>(weight));
    }
  }
}

}  // namespace peerage::kernels
