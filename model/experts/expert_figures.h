#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace peerage {

// How much of an expert layer is used, and how evenly. N is the number of experts and S that of
// selections. After the PEER paper (arXiv 2407.04153, section 4.3 and Table 2): z is the sum of the
// weights an expert was picked with, normalised to 1 over all experts.
//
// All figures are 0 where nothing was selected; those of z also where all weights were 0.
struct ExpertFigures {
  uint64_t selections = 0;
  double used_ratio = 0;           // experts with a selection / N
  double used_expected_ratio = 0;  // what a uniform router would reach: 1 - (1 - 1/N)^S
  double unevenness_nats = 0;  // Kullback-Leibler divergence of z from uniform: ln N + sum z ln z
  double unevenness_bias_nats = 0;  // what a uniform router would show by chance: (N - 1) / (2 S)
  double effective_experts = 0;     // exp(entropy of z)
  double gini = 0;                  // of the selections: 0 is even, (N - 1) / N is one expert
  double top_1_percent_share = 0;   // of all selections, those of the ceil(N / 100) most selected
};

// The figures of one layer: how often each expert was selected [N], and the sums of the weights it
// was picked with [N].
// Cost: linear in N as long as few experts have more than 65,535 selections (a million experts:
// some 10 ms).
// Precondition: N is at least 1; scores are finite and not negative.
ExpertFigures ComputeExpertFigures(absl::Span<const uint64_t> selections,
                                   absl::Span<const double> scores);

}  // namespace peerage
