#include "model/nn/peer.h"

namespace peerage::nn {

void Peer::Forward(kernels::ThreadPool& pool, Workspace& workspace,
                   const RetrievedExperts::Step& step) const {
  if (!norm.has_value()) return experts.Forward(pool, workspace, step);
  RetrievedExperts::Step normed = step;
  normed.input.x = workspace.expert_input;
  pool.For(step.input.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    norm->Forward({.x = step.input.x, .y = workspace.expert_input, .stride = step.input.stride},
                  static_cast<int>(first), static_cast<int>(end));
  });
  experts.Forward(pool, workspace, normed);
}

}  // namespace peerage::nn
