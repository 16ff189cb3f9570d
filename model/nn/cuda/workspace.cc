#include "model/nn/cuda/workspace.h"

#include <algorithm>

#include "model/nn/cuda/matmul.h"

namespace peerage::nn::cuda {

void Workspace::Lay(const Shape& shape, Arena& arena) {
  const BufferWidths& widths = shape.widths;
  const size_t tokens = shape.max_tokens, width = shape.hidden_size, vocab = shape.vocab_size;
  const auto take = [&](size_t bytes) {
    arena.AlignTo(kMatrixAlignment);
    return arena.Take(bytes);
  };
  const auto floats = [&](size_t count) {
    return reinterpret_cast<float*>(take(count * sizeof(float)));
  };
  const auto activations = [&](size_t count) -> void* {
    return take(count * kernels::cuda::BytesOf(shape.activations));
  };
  residual = floats(tokens * width);
  normed = activations(tokens * width);
  qkv = floats(tokens * widths.qkv);
  attended = activations(tokens * widths.attended);
  gate_up = floats(tokens * 2 * widths.hidden);
  hidden = activations(tokens * widths.hidden);
  last = activations(kLogitRows * width);
  logits = floats(kLogitRows * vocab);
  expert_input = activations(tokens * widths.expert_input);
  queries = floats(tokens * widths.queries);
  head_sums = floats(tokens * widths.head_sums);
  scratch = take(shape.scratch_bytes);
  matmul = take(Matmul::kWorkspaceBytes);
  mixture.logits = floats(tokens * widths.gates);
  mixture.ffn_logits = floats(tokens * widths.ffn_gates);
  mixture.kept_logits = floats(tokens * widths.kept_logits);
  mixture.head_gates = floats(tokens * widths.head_gates);
  mixture.gathered = activations(tokens * widths.picked * width);
  mixture.outputs = floats(tokens * widths.picked * width);
  mixture.row_of_pick = arena.TakeArray<int32_t>(tokens * widths.picked);
  mixture.first_row = arena.TakeArray<int32_t>(shape.most_ffns + 1);
}

}  // namespace peerage::nn::cuda
