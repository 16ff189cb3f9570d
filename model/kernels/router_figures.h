// How sure a router was when it picked one token's experts: what softmax over the scores of all N
// experts, p, gives to the picked ones together, and the entropy of p as a share of ln N. kNoExpert
// among picked ids is none.
#pragma once

#include <cstdint>
#include <span>

namespace peerage::kernels {

struct RouterFigures {
  float kept_mass = 0;  // sum of p over the picks, 0 to 1
  float entropy = 0;    // -sum p ln p / ln N, 0 (sure) to 1 (even); 0 where N is 1
};

// The figures of scores s1[i] + s2[j] of N = n * n experts, without looking at each of them: p is
// the product of the two halves' softmaxes, so its entropy is the sum of theirs.
struct ProductKeyFiguresArgs {
  std::span<const float> scores[2] = {};  // [n] each
  std::span<const uint32_t> ids = {};     // picked: first_id + i * n + j
  uint32_t first_id = 0;
  std::span<float> scratch = {};  // [2 n]
};
// NaN, both, where a score is NaN or infinite.
RouterFigures ProductKeyFigures(const ProductKeyFiguresArgs& args);
// The specification, over all N, in double.
RouterFigures ProductKeyFiguresReference(const ProductKeyFiguresArgs& args);

// The figures of p [N] itself; a NaN in p makes one of the entropy.
RouterFigures GateFigures(std::span<const float> p, std::span<const uint32_t> ids);

}  // namespace peerage::kernels
