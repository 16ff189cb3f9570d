// Questions to a row of logits [vocabulary], answered in one fixed order of summation.
#pragma once

#include <cstdint>
#include <span>

namespace peerage::kernels {

// log(sum(exp(logits))), stable. NaN when any logit is NaN or +infinity, or none is finite.
float LogSumExp(std::span<const float> logits);
double LogSumExpReference(std::span<const float> logits);

// 1 + the logits that are higher, or equal with a lower index. Precondition: no NaN.
uint32_t Rank(std::span<const float> logits, uint32_t index);

// Index of the highest logit, the lowest index on ties. Precondition: not empty, no NaN.
uint32_t ArgMax(std::span<const float> logits);

// Indices of the top.size() highest logits, highest first, lower index first on ties, by threshold
// scan. Precondition: top.size() <= logits.size(), no NaN.
void TopK(std::span<const float> logits, std::span<uint32_t> top);

// weights[i] = exp((logits[i] - highest) / temperature): 1 for the highest logit, 0 below e^-87.
// Preconditions: no NaN, no +infinity, one finite logit; temperature > 0; equal sizes.
void SoftmaxWeights(std::span<const float> logits, float temperature, std::span<float> weights);

}  // namespace peerage::kernels
