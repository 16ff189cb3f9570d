#pragma once

namespace peerage {

// What a hidden unit becomes. kGelu is the exact one (erf), kGeluTanh its tanh approximation.
enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

// How the scores of a head's picks become weights: softmax over them, sigmoid or relu of each, or
// the product of the two halves' softmax probabilities over all sub-keys (kJointSoftmax, OmniMoE).
enum class RouterScore { kSoftmax, kSigmoid, kRelu, kJointSoftmax };

}  // namespace peerage
