// Backward of scores by product keys. A pick's score is q1 . k1[id / n] + q2 . k2[id % n] for the
// halves of a token's query, so that a query's gradient is a sum of sub-keys over its picks, and a
// sub-key's one of queries over all who picked it.
#pragma once

#include <cstdint>

namespace peerage::kernels {

// Of one head. A token's numbers lie `..._stride` behind those of the token before.
template <typename V>
struct KeyGradientsArgs {
  int64_t tokens = 0;
  int64_t top_k = 0;
  int64_t n = 0;      // sub-keys of a half, at most 2^31
  int64_t width = 0;  // of a half

  int64_t pick_stride = 0;
  const int64_t* ids = nullptr;        // [top_k] of each token
  const V* score_gradients = nullptr;  // likewise
  const V* queries[2] = {};            // [width] of each token
  int64_t query_stride = 0;
  const V* sub_keys = nullptr;  // [n][2][width]
  V* query_gradients[2] = {};   // [width] of each token
  int64_t query_gradient_stride = 0;
  V* sub_key_gradients = nullptr;  // [n][2][width], which are added to
};

// Sums run in the order of tokens, and of a token's picks.
void KeyGradients(const KeyGradientsArgs<float>& args);
void KeyGradients(const KeyGradientsArgs<double>& args);

}  // namespace peerage::kernels
