#pragma once

#include <vector>

#include "model/language_model.h"

namespace peerage::nn::cpu {

// The probabilities that sampling is to have, written down naively: doubles, a full sort, one step
// after the other as inference.proto lists them. Precondition: temperature > 0.
std::vector<double> ReferenceProbabilities(const std::vector<float>& logits,
                                           const SamplingParams& params,
                                           const std::vector<TokenId>& prompt,
                                           const std::vector<TokenId>& generated);

}  // namespace peerage::nn::cpu
