// How output_head_cuda.h is computed: five kernels, each of which reads a row at most once, by many
// blocks where that is a whole vocabulary's work.
//
//   Scan    a chunk's highest logit, sum of exponentials and best tokens; edits (bias, penalties,
//           mask) to a copy where a row samples with any
//   Weigh   the row's histogram of scaled distances to the highest logit: how many tokens and how
//           much weight lie in each bin. Only where top_k or top_p cut
//   Gather  what each chunk weighs in bins that are kept for certain; tokens in the one or few bins
//           where a cut falls become candidates
//   Finish  by one block a row: the cuts among the candidates, the draw, log-probabilities,
//           alternatives
//   Rank    how many logits are better than those that are reported
//
// All sums that decide over tokens are sums of integers, so neither the order of blocks nor that of
// candidates shows.
#pragma once

#include "model/kernels/output_head_cuda.h"

namespace peerage::kernels::cuda {

inline constexpr int kMostTokens = 1 << 18;  // of a vocabulary
inline constexpr int kChunkTokens = 4096;    // that one block reads
inline constexpr int kChunkThreads = 256;
inline constexpr int kMostChunks = kMostTokens / kChunkTokens;
inline constexpr int kBins = 1024;

// Of a chunk, as Scan leaves it.
struct alignas(16) ChunkSummary {
  uint64_t best = 0, best_unmasked = 0;  // TokenRank after edits, with and without the mask
  float most = 0;                        // raw
  float sum = 0;                         // of exp(raw logit - most)
  uint32_t wrong = 0;                    // a logit is NaN or +infinity
};

// Which bins hold candidates, and what lies in the bins before them.
struct Cut {
  int32_t top_k_bin = kBins;                         // where top_k cuts; kBins: nowhere
  int32_t nucleus_first = kBins, nucleus_last = -1;  // where top_p cuts, at the latest and earliest
  int32_t certain = kBins;                           // all bins before this one are kept
  uint64_t keep_of_top_k_bin = 0;                    // tokens
  uint64_t units_before_top_k = 0;                   // of all bins when top_k cuts nowhere
  uint64_t units_before_nucleus = 0;                 // of bins before nucleus_first
};

struct RowHistogram {
  uint64_t units[kBins];
  uint32_t tokens[kBins];
};

struct ReportScratch {
  ChunkSummary* summaries;     // [count][chunks]
  uint64_t* best;              // [count][chunks][kMostAlternatives], TokenRank of raw logits
  uint64_t* units;             // [count][chunks], of bins that are kept for certain
  RowHistogram* histograms;    // [count]
  Cut* cuts;                   // [count]
  uint32_t* candidate_counts;  // [count]
  uint32_t* candidates;        // [count][stride]
  float* edited;               // [count][stride], logits after bias and penalties
  uint32_t* masked;            // [count][chunks][kChunkTokens / 32], a bit for each token
  int chunks;
  int stride;  // the vocabulary, in whole pieces of 16 bytes
};

struct StageArgs {
  ReportRowsArgs report;
  ReportScratch scratch;
  bool aligned;  // whether rows of logits lie at multiples of 16 bytes
};

cudaError_t Scan(const StageArgs& args, cudaStream_t stream);
cudaError_t Weigh(const StageArgs& args, cudaStream_t stream);
cudaError_t Gather(const StageArgs& args, cudaStream_t stream);
cudaError_t Finish(const StageArgs& args, cudaStream_t stream);
cudaError_t Rank(const StageArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
