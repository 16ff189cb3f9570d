#include "model/nn/transformer.h"

#include <utility>

namespace peerage::nn {

Transformer::Transformer(ModelDescription description, ModelCapacity capacity,
                         TransformerParts parts)
    : description_(std::move(description)),
      capacity_(capacity),
      parts_(std::move(parts)),
      samplers_(capacity.num_slots) {}

void Transformer::Open(SlotId slot, const SamplingParams& sampling,
                       absl::Span<const TokenId> prompt) {
  samplers_[slot] = Sampler(sampling, prompt);
}

void Transformer::Fork(SlotId from, SlotId to, uint32_t candidate) {
  samplers_[to] = samplers_[from];
  samplers_[to].set_candidate(candidate);
}

void Transformer::Close(SlotId slot) { samplers_[slot] = Sampler(); }

absl::StatusOr<StepOutput> Transformer::Step(const StepInput& input) {
  parts_.kv_cache.Copy(input.copies);
  parts_.batch.Assign(input.chunks);
  Embed();
  for (size_t i = 0; i < parts_.blocks.size(); ++i) {
    parts_.blocks[i].Forward(*parts_.pool, parts_.workspace,
                             {.batch = parts_.batch,
                              .kv = parts_.kv_cache.layer(static_cast<int>(i)),
                              .counters = parts_.counters});
  }
  StepOutput output = parts_.head.Forward(
      *parts_.pool, parts_.workspace,
      {.batch = parts_.batch, .input = input, .samplers = absl::MakeSpan(samplers_)});
  output.picks = parts_.counters.Picks(parts_.batch.size());
  return output;
}

void Transformer::Embed() {
  const int width = parts_.embedding.depth;
  const absl::Span<const StepBatch::Token> tokens = parts_.batch.tokens();
  parts_.pool->For(parts_.batch.size(), kRowGrain, [&](int64_t first, int64_t end, int) {
    for (int64_t t = first; t < end; ++t) {
      kernels::UnpackRow(parts_.embedding, static_cast<int>(tokens[t].id),
                         parts_.workspace.residual + t * width);
    }
  });
}

}  // namespace peerage::nn
