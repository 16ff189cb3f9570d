// From rows of logits to what was asked of them: a sampled token, log-probabilities and ranks of
// tokens, the most likely tokens. The order of the steps of sampling is the contract in
// inference.proto, the arithmetic that of model/nn/cpu/sampler.cc, operation for operation: weights
// are integers in units of 2^-40, so that their sums are exact in every order. Of equal logits both
// draw equal tokens. Log-probabilities are sums of f32, in an order that the vocabulary decides.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

inline constexpr int kMostAlternatives = 20;
inline constexpr int kMostVocabulary = 1 << 18;

// What one row asks for. Lists lie in arrays that all rows share: [first, first + count).
struct RowRequest {
  int32_t token_row = -1;   // of the step; -1: padding, of which nothing is written
  int32_t sample = 0;       // whether a token is sampled; else the targets are scored
  int32_t first_score = 0;  // of scores: 1 if a token is sampled, else one for each target
  int32_t scores = 0;       // targets likewise lie at first_score
  int32_t first_alternative = 0;
  int32_t alternatives = -1;  // -1: not even the sampled token's log-probability is needed
  // Sampling (model/language_model.h).
  float temperature = 0;
  float top_p = 1;
  float min_p = 0;
  uint32_t top_k = 0;
  uint64_t random = 0;  // 64 random bits of this draw
  float repetition_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  int32_t first_bias = 0, biases = 0;    // added first, in order
  int32_t first_seen = 0, seen = 0;      // distinct tokens
  int32_t first_masked = 0, masked = 0;  // cannot be sampled, unless nothing else could
};

struct TokenBias {
  uint32_t token = 0;
  float bias = 0;
};
struct SeenToken {
  uint32_t token = 0;
  uint32_t count = 0;  // generated so often; 0: of the prompt
};
struct DeviceScore {
  uint32_t token = 0;
  float logprob = 0;  // of the raw logits; NaN where it was not needed
  uint32_t rank = 0;  // 1: the best; 0 where it was not needed
};
struct DeviceAlternative {
  uint32_t token = 0;
  float logprob = 0;
};

struct ReportRowsArgs {
  const float* logits = nullptr;         // [count][vocabulary]; faster in rows of whole 16 bytes
  int vocabulary = 0;                    // 1..kMostVocabulary
  const RowRequest* requests = nullptr;  // [count] on the device, as all that follows
  int count = 0;                         // 0..65535
  const uint32_t* targets = nullptr;
  const TokenBias* biases = nullptr;
  const SeenToken* seen = nullptr;
  const uint32_t* masked = nullptr;
  DeviceScore* scores = nullptr;
  DeviceAlternative* alternatives = nullptr;
  int32_t* failed = nullptr;   // [count]: 1 where the logits hold no distribution
  uint8_t* scratch = nullptr;  // ReportScratchBytes(vocabulary, count), 16-byte aligned
};
// About twice the bytes of the logits.
size_t ReportScratchBytes(int vocabulary, int count);
// cudaErrorInvalidValue where a size is out of range.
cudaError_t ReportRows(const ReportRowsArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
