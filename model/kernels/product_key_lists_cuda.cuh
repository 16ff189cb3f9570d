// How SelectExperts works: one kernel lists the best sub-keys of a query's half among a chunk of
// them, a second one joins the chunks' lists and the halves. Many chunks keep a device busy that
// has few queries.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {

// Some tokens of a call: as many as the scratch memory holds lists of.
struct SelectPass {
  SelectExpertsArgs args;
  int listed = 0;      // of each half and chunk: min(n, k)
  int chunk_keys = 0;  // a multiple of 128
  int chunks = 0;
  // Ranked keys of scores and sub-keys, best first; 0 where a chunk has fewer.
  uint64_t* lists = nullptr;  // [count][heads][2][chunks][listed]
  // Of the chunk's scores: sum of exp(score - ExponentialOrigin(best score)); for kJointSoftmax.
  float* exponentials = nullptr;  // [count][heads][2][chunks]
};

// Sub-keys of a chunk where there are many queries, and always for kJointSoftmax, whose sums may
// not depend on the batch.
int ChunkKeys(const ProductKeyShape& shape);

cudaError_t ListSubKeys(const SelectPass& pass, cudaStream_t stream);
cudaError_t CombineLists(const SelectPass& pass, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
