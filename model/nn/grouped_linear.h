#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/linear_layer.h"

namespace peerage::nn {

// A linear layer and the rows that go through it.
struct LinearGroup {
  const LinearLayer* layer = nullptr;
  Activations input;
  LinearLayer::Output output;
};

// Several linear layers, each on rows of its own, as one loop over the tiles of all of them: every
// weight is read once, and the team is busy however unevenly the rows are divided. Each row's bits
// are those of LinearLayer::Forward.
void ForwardGroups(kernels::ThreadPool& pool, absl::Span<const LinearGroup> groups);

// LinearLayer::PrepareInput for rows [first, end), counted over the rows of all groups: a thread's
// share.
void PrepareGroups(absl::Span<const LinearGroup> groups, int64_t first, int64_t end);

}  // namespace peerage::nn
