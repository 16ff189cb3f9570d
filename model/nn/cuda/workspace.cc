#include "model/nn/cuda/workspace.h"

#include <algorithm>

#include "model/nn/cuda/matmul.h"

namespace peerage::nn::cuda {

void Workspace::Lay(const Shape& shape, Arena& arena) {
  const BufferWidths& widths = shape.widths;
  const size_t tokens = shape.max_tokens, width = shape.hidden_size, vocab = shape.vocab_size;
  const auto activations = [&](size_t count) -> void* {
    return arena.Take(count * kernels::cuda::BytesOf(shape.activations));
  };
  residual = arena.TakeArray<float>(tokens * width);
  normed = activations(tokens * width);
  qkv = arena.TakeArray<float>(tokens * widths.qkv);
  attended = activations(tokens * widths.attended);
  gate_up = arena.TakeArray<float>(tokens * 2 * widths.hidden);
  hidden = activations(tokens * widths.hidden);
  last = activations(kLogitRows * width);
  logits = arena.TakeArray<float>(kLogitRows * vocab);
  expert_input = activations(tokens * widths.expert_input);
  queries = arena.TakeArray<float>(tokens * widths.queries);
  head_sums = arena.TakeArray<float>(tokens * widths.head_sums);
  scratch = arena.Take(shape.scratch_bytes);
  matmul = arena.Take(Matmul::kWorkspaceBytes);
  mixture.logits = arena.TakeArray<float>(tokens * widths.gates);
  mixture.ffn_logits = arena.TakeArray<float>(tokens * widths.ffn_gates);
  mixture.kept_logits = arena.TakeArray<float>(tokens * widths.kept_logits);
  mixture.head_gates = arena.TakeArray<float>(tokens * widths.head_gates);
  mixture.gathered = activations(tokens * widths.picked * width);
  mixture.outputs = arena.TakeArray<float>(tokens * widths.picked * width);
  mixture.row_of_pick = arena.TakeArray<int32_t>(tokens * widths.picked);
  mixture.first_row = arena.TakeArray<int32_t>(shape.most_ffns + 1);
}

}  // namespace peerage::nn::cuda
