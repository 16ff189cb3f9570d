#include "model/nn/retrieved_experts.h"

#include <algorithm>

namespace peerage::nn {

void RetrievedExperts::Forward(kernels::ThreadPool& pool, Workspace& workspace,
                               const Step& step) const {
  router.Project(pool, step.input, workspace.queries);
  if (step.input.tokens < pool.threads()) {
    ForwardHeads(pool, workspace, step);
  } else {
    ForwardTokens(pool, workspace, step);
  }
}

size_t RetrievedExperts::ScratchBytes() const {
  return std::max(router.ScratchBytes(), kernels::ExpertScratchBytes(table));
}

kernels::ExpertArgs RetrievedExperts::ExpertArgsOf(const Step& step) const {
  return {.table = table,
          .activation = activation,
          .heads = router.heads,
          .top_k = router.top_k,
          .x = step.input.x,
          .x_stride = step.input.stride,
          .ids = step.picks.ids,
          .weights = step.picks.weights,
          .y = step.residual,
          .y_stride = static_cast<size_t>(table.width)};
}

void RetrievedExperts::ForwardTokens(kernels::ThreadPool& pool, Workspace& workspace,
                                     const Step& step) const {
  const kernels::ExpertArgs experts = ExpertArgsOf(step);
  const int tokens = step.input.tokens;
  const int share = (tokens + pool.threads() - 1) / pool.threads();
  const int grain = std::min(share, ProductKeyRouter::kMaxPartTokens);
  pool.For(tokens, grain, [&](int64_t begin, int64_t end, int thread) {
    uint8_t* scratch = workspace.expert_scratch_of(thread);
    for (int first = static_cast<int>(begin); first < end; first += grain) {
      const int last = std::min(first + grain, static_cast<int>(end));
      router.Route({.first_token = first, .end_token = last, .end_head = router.heads},
                   workspace.queries, step.picks, scratch);
      kernels::AddExperts(experts, first, last, scratch);
    }
  });
}

void RetrievedExperts::ForwardHeads(kernels::ThreadPool& pool, Workspace& workspace,
                                    const Step& step) const {
  const kernels::ExpertArgs experts = ExpertArgsOf(step);
  const int heads = router.heads;
  const int tokens = step.input.tokens;
  const size_t token_sums = size_t(heads) * table.width;
  const int grain = std::max(1, tokens * heads / pool.threads());
  pool.For(int64_t{tokens} * heads, grain, [&](int64_t begin, int64_t end, int thread) {
    uint8_t* scratch = workspace.expert_scratch_of(thread);
    while (begin < end) {
      const int token = static_cast<int>(begin / heads);
      const int first = static_cast<int>(begin % heads);
      const int last = static_cast<int>(std::min<int64_t>(heads, first + end - begin));
      router.Route(
          {.first_token = token, .end_token = token + 1, .first_head = first, .end_head = last},
          workspace.queries, step.picks, scratch);
      kernels::ExpertHeads(experts, {.token = token, .first = first, .end = last},
                           workspace.head_sums + token * token_sums, scratch);
      begin += last - first;
    }
  });
  for (int token = 0; token < tokens; ++token) {
    kernels::AddHeadSums(experts, token, workspace.head_sums + token * token_sums);
  }
}

}  // namespace peerage::nn
