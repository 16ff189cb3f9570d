#include "model/nn/cpu/retrieved_experts.h"

#include <algorithm>

namespace peerage::nn::cpu {

void RetrievedExperts::Forward(const StepContext& step, const Activations& input) const {
  router.Project(step.pool, input, step.workspace.queries);
  if (input.tokens < step.pool.threads()) {
    ForwardHeads(step, input);
  } else {
    ForwardTokens(step, input);
  }
  const PickBuffer picks = step.counters.picks(router.expert_layer);
  step.counters.Observe(step.pool, router.expert_layer, input.tokens,
                        [&](int token, int head, int thread) {
                          return router.FiguresOf(token, head, step.workspace.queries, picks,
                                                  step.workspace.expert_scratch_of(thread));
                        });
  step.counters.Count(step.pool, router.expert_layer, input.tokens, table.RecordBytes());
}

size_t RetrievedExperts::ScratchBytes() const {
  return std::max(router.ScratchBytes(), kernels::ExpertScratchBytes(table));
}

kernels::ExpertArgs RetrievedExperts::ExpertArgsOf(const StepContext& step,
                                                   const Activations& input) const {
  const PickBuffer picks = step.counters.picks(router.expert_layer);
  return {.table = table,
          .activation = activation,
          .heads = router.heads,
          .top_k = router.top_k,
          .x = input.x,
          .x_stride = input.stride,
          .ids = picks.ids,
          .weights = picks.weights,
          .y = step.workspace.residual,
          .y_stride = static_cast<size_t>(table.width)};
}

void RetrievedExperts::ForwardTokens(const StepContext& step, const Activations& input) const {
  const kernels::ExpertArgs experts = ExpertArgsOf(step, input);
  const int tokens = input.tokens;
  const int share = (tokens + step.pool.threads() - 1) / step.pool.threads();
  const int grain = std::min(share, ProductKeyRouter::kMaxPartTokens);
  step.pool.For(tokens, grain, [&](int64_t begin, int64_t end, int thread) {
    uint8_t* scratch = step.workspace.expert_scratch_of(thread);
    for (int first = static_cast<int>(begin); first < end; first += grain) {
      const int last = std::min(first + grain, static_cast<int>(end));
      router.Route({.first_token = first, .end_token = last, .end_head = router.heads}, step.batch,
                   step.workspace.queries, step.counters.picks(router.expert_layer), scratch);
      kernels::AddExperts(experts, first, last, scratch);
    }
  });
}

void RetrievedExperts::ForwardHeads(const StepContext& step, const Activations& input) const {
  const kernels::ExpertArgs experts = ExpertArgsOf(step, input);
  const int heads = router.heads;
  const int tokens = input.tokens;
  const size_t token_sums = size_t(heads) * table.width;
  const int grain = std::max(1, tokens * heads / step.pool.threads());
  step.pool.For(int64_t{tokens} * heads, grain, [&](int64_t begin, int64_t end, int thread) {
    uint8_t* scratch = step.workspace.expert_scratch_of(thread);
    while (begin < end) {
      const int token = static_cast<int>(begin / heads);
      const int first = static_cast<int>(begin % heads);
      const int last = static_cast<int>(std::min<int64_t>(heads, first + end - begin));
      router.Route(
          {.first_token = token, .end_token = token + 1, .first_head = first, .end_head = last},
          step.batch, step.workspace.queries, step.counters.picks(router.expert_layer), scratch);
      kernels::ExpertHeads(experts, {.token = token, .first = first, .end = last},
                           step.workspace.head_sums + token * token_sums, scratch);
      begin += last - first;
    }
  });
  for (int token = 0; token < tokens; ++token) {
    kernels::AddHeadSums(experts, token, step.workspace.head_sums + token * token_sums);
  }
}

}  // namespace peerage::nn::cpu
