#pragma once

#include <array>
#include <cstdint>

#include "absl/types/span.h"

namespace peerage {

// How one expert layer was used, and what chance would make of it.
struct LayerUsage {
  absl::Span<const uint64_t> selections;  // [N]
  absl::Span<const double> scores;        // [N]: sums of the weights an expert was picked with
  double squared_scores = 0;              // sum of the squared weights of all picks
  uint32_t top_k = 1;                     // different experts that one head picks for a token
  uint32_t expert_sets = 1;  // of N / expert_sets experts: heads, when each has its own
};

// How much of an expert layer is used, and how evenly. N is the number of experts and S that of
// selections. After the PEER paper (arXiv 2407.04153, section 4.3 and Table 2): z is an expert's
// share of the selections or, score-weighted, of the sum of the weights.
//
// Where nothing was selected, all experts are unused and all other figures 0; score-weighted ones
// also where all weights were 0.
struct ExpertFigures {
  // Kullback-Leibler divergence of z from an even use, in nats.
  struct Unevenness {
    double nats = 0;           // ln N + sum z ln z
    double expected_nats = 0;  // ExpectedUnevenness
  };

  uint64_t selections = 0;
  uint64_t unused = 0;             // experts without a selection
  double used_ratio = 0;           // the others / N
  double used_expected_ratio = 0;  // of an even router: 1 - (1 - k / N)^(S / k), k = top_k
  Unevenness by_count;
  Unevenness by_score;           // expected from (sum w)^2 / sum w^2 selections, w of each pick
  double effective_experts = 0;  // exp(entropy of z), score-weighted
  double gini = 0;               // of the selections: 0 is even, (N - 1) / N is one expert
  // Of all selections, those of the ceil(N * kTopShares[i]) most selected experts.
  std::array<double, 3> top_share = {};
};

inline constexpr std::array<double, 3> kTopShares = {0.001, 0.01, 0.1};

// The figures of one layer.
// Cost: linear in N as long as few experts have more than 65,535 selections (a million experts:
// some 10 ms).
// Precondition: N is at least 1; scores are finite and not negative.
ExpertFigures ComputeExpertFigures(const LayerUsage& usage);

// The unevenness, in nats, that an even router shows by chance after so many selections of N
// experts: the counts are then about Poisson, with mean m = selections / N, and the unevenness is
// E[c ln c] / m - ln m over such counts c. About 1 / (2 m) for large m, and at most ln N.
// Precondition: both are positive.
double ExpectedUnevenness(double num_experts, double selections);

// How evenly one head uses the sub-keys of one half, by the picks that each led to [n]. Zeros where
// nothing was picked: a dead head.
struct SubKeyFigures {
  double used_ratio = 0;     // sub-keys with a pick / n
  double entropy_ratio = 0;  // entropy of their shares / ln n: 1 is even
};
SubKeyFigures ComputeSubKeyFigures(absl::Span<const uint64_t> picks);

// How differently two windows use the experts, by their selections [N]: the Jensen-Shannon
// divergence of both shares in nats, 0 (alike) to ln 2 (nothing in common). 0 when one is empty.
double ExpertDrift(absl::Span<const uint64_t> a, absl::Span<const uint64_t> b);

}  // namespace peerage
