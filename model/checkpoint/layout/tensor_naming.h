#pragma once

namespace peerage {

// Whose names the tensors of a file have. kMixtral: kLlama's, and a tensor for each matrix of an
// expert. kMixtralPacked: kLlama's, and all experts' matrices in one tensor.
enum class TensorNaming { kPeerage, kLlama, kMixtral, kMixtralPacked, kGguf };

}  // namespace peerage
