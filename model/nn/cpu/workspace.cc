#include "model/nn/cpu/workspace.h"

#include <algorithm>

#include "model/kernels/linear.h"

namespace peerage::nn::cpu {

void Workspace::Lay(const Shape& shape, Arena& arena) {
  const BufferWidths& widths = shape.widths;
  const size_t tokens = std::max(shape.max_tokens, kLogitRows);
  const size_t threads = shape.threads, vocab = shape.vocab_size, width = shape.hidden_size;
  residual = arena.TakeArray<float>(tokens * width);
  normed = arena.TakeArray<float>(tokens * width);
  qkv = arena.TakeArray<float>(tokens * widths.qkv);
  attended = arena.TakeArray<float>(tokens * widths.attended);
  gate_up = arena.TakeArray<float>(tokens * 2 * widths.hidden);
  hidden = arena.TakeArray<float>(tokens * widths.hidden);
  // Panels hold whole blocks: a depth that is no multiple of 32 never becomes a panel.
  panels = arena.Take(
      kernels::PanelBytes(kernels::WeightFormat::kQ8_0,
                          static_cast<int>(widths.input) / kernels::kBlock * kernels::kBlock,
                          static_cast<int>(tokens)));
  logits = arena.TakeArray<float>(kLogitRows * vocab);
  row_scratch = arena.TakeArray<float>(threads * vocab);
  expert_input = arena.TakeArray<float>(tokens * widths.expert_input);
  queries = arena.TakeArray<float>(tokens * widths.queries);
  head_sums = arena.TakeArray<float>((threads - 1) * widths.head_sums);
  scratch_stride = Arena::Padded(shape.expert_scratch_bytes);
  expert_scratch = arena.Take(threads * scratch_stride);
  mixture.logits = arena.TakeArray<float>(tokens * widths.gates);
  mixture.ffn_logits = arena.TakeArray<float>(tokens * widths.ffn_gates);
  mixture.kept_logits = arena.TakeArray<float>(tokens * widths.kept_logits);
  mixture.head_gates = arena.TakeArray<float>(tokens * widths.head_gates);
  mixture.gathered = arena.TakeArray<float>(tokens * widths.picked * width);
  mixture.outputs = arena.TakeArray<float>(tokens * widths.picked * width);
  mixture.row_of_pick = arena.TakeArray<int32_t>(tokens * widths.picked);
}

}  // namespace peerage::nn::cpu
