// Retrieval by product keys (Lample et al. 2019, section 3; PEER, He 2024, Algorithm 1): a head's
// query has two halves, each is scored against n sub-keys, and expert i * n + j has the score
// s1[i] + s2[j]. The best k of each half, then the best k of their sums, are the best k of all n^2.
//
// Order everywhere: higher value, then lower id; NaN comes after every number and stays NaN.
// Results do not depend on the number of rows, on threads or on the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/config/activation.h"
#include "model/kernels/linear.h"

namespace peerage::kernels {

inline constexpr int kMaxTopK = 128;

// The k best of each row.
struct TopKArgs {
  const float* scores = nullptr;  // [rows][stride], n of each
  size_t stride = 0;
  int rows = 0;
  int n = 0;
  int k = 0;                // 1..min(n, kMaxTopK)
  float* values = nullptr;  // [rows][k], best first
  int32_t* ids = nullptr;   // [rows][k]
};
void TopK(const TopKArgs& args);
void TopKReference(const TopKArgs& args);

// One set of n sub-keys of a half's width, as kernels read them. From 256 sub-keys on they are held
// three times over, for CPUs that score in bf16 first.
struct SubKeys {
  int n = 0;                                 // at most 65536
  int width = 0;                             // key_dim / 2
  WeightFormat format = WeightFormat::kF32;  // or kBF16
  const uint8_t* data = nullptr;             // SubKeyBytes(...), 64-byte aligned
};
size_t SubKeyBytes(const SubKeys& shape);
// `rows`: [n][width] of the format's type.
void PackSubKeys(const SubKeys& shape, const uint8_t* rows, uint8_t* data);

// Scores queries against sub-keys in fp32 (a chain of fused multiply-adds in order of k, as
// linear.h) and keeps the k best of each. However it is computed, the result is exactly that.
struct SubKeyTopKArgs {
  SubKeys keys;
  const float* queries = nullptr;  // [rows][stride], `width` of each
  size_t stride = 0;
  int rows = 0;
  int k = 0;                     // 1..min(n, kMaxTopK)
  float* values = nullptr;       // row r at values + r * out_stride, best first
  int32_t* ids = nullptr;        // likewise
  size_t out_stride = 0;         // >= k
  float* log_sum_exp = nullptr;  // [rows], over all n; nullptr: not wanted
  uint8_t* scratch = nullptr;    // SubKeyTopKScratch(n, width) bytes, 64-byte aligned
};
size_t SubKeyTopKScratch(int n, int width);
// All scores of one query, the same ones: f32 [SubKeyScoreStride(n)], of which n are scores.
size_t SubKeyScoreStride(int n);
void ScoreSubKeys(const SubKeys& keys, const float* query, float* scores);
void SubKeyTopK(const SubKeyTopKArgs& args);
void SubKeyTopKReference(const SubKeyTopKArgs& args);  // scores in fp32 chains too: same bits

// The k best sums of the two halves' lists, sum descending, then id ascending, and their weights:
// softmax over the row's k sums, sigmoid or relu of each, or exp(s1 - lse1) * exp(s2 - lse2). A NaN
// among the k sums makes all softmax weights of the row NaN, else the weight of its own.
struct CombineArgs {
  int rows = 0;
  int n = 0;       // sub-keys of a half, at most 65536: id = i * n + j < 2^32
  int listed = 0;  // of each half, best first: min(n, k)
  int k = 0;       // 1..min(listed * listed, kMaxTopK)
  // Row r of half b at [r * stride + b * half_stride].
  const float* values = nullptr;
  const int32_t* ids = nullptr;
  size_t stride = 0;
  size_t half_stride = 0;
  const float* log_sum_exp[2] = {};  // [rows] each; kJointSoftmax only
  RouterScore score = RouterScore::kSoftmax;
  uint32_t first_id = 0;           // added to every id; first_id + n * n <= 2^32
  uint32_t* expert_ids = nullptr;  // row r at [r * out_stride], by sum descending, then id
  float* weights = nullptr;        // likewise
  size_t out_stride = 0;
};
void CombineHalves(const CombineArgs& args);
void CombineHalvesReference(const CombineArgs& args);

// The last part of it alone: the weights of one row's picks, the same bits.
struct WeighArgs {
  RouterScore score = RouterScore::kSoftmax;
  int k = 0;                               // 0..kMaxTopK
  const float* sums = nullptr;             // [kMaxTopK], 64-byte aligned, k of them picks
  float highest = 0;                       // of these
  const float* log_probabilities[2] = {};  // as sums, of each half: s - lse; kJointSoftmax only
  float* weights = nullptr;                // [k]
};
void WeighPicks(const WeighArgs& args);

}  // namespace peerage::kernels
