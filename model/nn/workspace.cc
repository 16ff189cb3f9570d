#include "model/nn/workspace.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/status_macros.h"
#include "model/kernels/linear.h"
#include "model/nn/attention_shape.h"

namespace peerage::nn {
namespace {

// What a token needs in the widest layer of each kind.
struct Widths {
  size_t qkv = 0;
  size_t attended = 0;
  size_t hidden = 0;        // of feed-forward parts, all picked experts side by side
  size_t panels = 0;        // of the widest input, likewise
  size_t expert_input = 0;  // product keys: of a norm of their own
  size_t queries = 0;       // or direct scores
  size_t head_sums = 0;
  size_t gates = 0;  // mixtures: one an expert
  size_t head_gates = 0;
  size_t picked = 0;  // experts of a mixture of feed-forward parts

  void AddAttention(const AttentionConfig& attention, const kernels::AttentionShape& shape) {
    const size_t heads = shape.heads, dim = shape.head_dim;
    attended = std::max(attended, heads * dim);
    qkv = std::max(qkv, (heads + 2 * shape.kv_heads) * dim);
    if (attention.kind == AttentionKind::kDense) return;
    gates = std::max<size_t>(gates, attention.mixture.num_experts);
    head_gates = std::max(head_gates, heads);
  }

  void AddProductKeys(const ProductKeyConfig& p, size_t model_width) {
    const size_t heads = p.heads;
    const size_t query = p.keys == ProductKeys::kDirect ? 2 * p.num_sub_keys : p.key_dim;
    queries = std::max(queries, heads * query);
    head_sums = std::max(head_sums, heads * model_width);
    if (p.norm != PeerNorm::kNone) expert_input = model_width;
  }

  void AddFfn(const FfnConfig& ffn, size_t model_width) {
    if (ffn.kind == FfnKind::kPeer || ffn.kind == FfnKind::kProductKeyMemory) {
      return AddProductKeys(ffn.product_keys, model_width);
    }
    const size_t width = ffn.intermediate_size;
    const size_t copies = ffn.kind == FfnKind::kMixture ? ffn.mixture.top_k : 1;
    hidden = std::max(hidden, copies * width);
    panels = std::max(panels, copies * std::max(width, model_width));
    if (ffn.kind == FfnKind::kDense) return;
    gates = std::max<size_t>(gates, ffn.mixture.num_experts);
    picked = std::max(picked, copies);
  }
};

Widths WidthsOf(const ModelConfig& config) {
  Widths widths;
  const size_t model_width = config.hidden_size;
  for (const LayerConfig& layer : config.layers) {
    widths.AddAttention(layer.attention, AttentionShapeOf(config, layer.attention));
    for (const FfnConfig& ffn : layer.ffn) widths.AddFfn(ffn, model_width);
  }
  widths.panels = std::max({widths.panels, model_width, widths.attended});
  return widths;
}

// Bytes of each buffer, in the order of Workspace's members.
std::array<size_t, 18> BufferBytes(const ModelConfig& c, const Workspace::Shape& shape) {
  const size_t tokens = std::max(shape.max_tokens, Workspace::kLogitRows);
  const size_t threads = shape.threads;
  const Widths w = WidthsOf(c);
  // Panels hold whole blocks: a depth that is no multiple of 32 never becomes a panel.
  const size_t panels = kernels::PanelBytes(
      kernels::WeightFormat::kQ8_0, static_cast<int>(w.panels) / kernels::kBlock * kernels::kBlock,
      static_cast<int>(tokens));
  return {tokens * c.hidden_size * sizeof(float),
          tokens * c.hidden_size * sizeof(float),
          tokens * w.qkv * sizeof(float),
          tokens * w.attended * sizeof(float),
          tokens * 2 * w.hidden * sizeof(float),
          tokens * w.hidden * sizeof(float),
          panels,
          Workspace::kLogitRows * size_t(c.vocab_size) * sizeof(float),
          threads * c.vocab_size * sizeof(float),
          tokens * w.expert_input * sizeof(float),
          tokens * w.queries * sizeof(float),
          (threads - 1) * w.head_sums * sizeof(float),
          threads * Arena::Padded(shape.expert_scratch_bytes),
          tokens * w.gates * sizeof(float),
          tokens * w.head_gates * sizeof(float),
          tokens * w.picked * c.hidden_size * sizeof(float),
          tokens * w.picked * c.hidden_size * sizeof(float),
          tokens * w.picked * sizeof(int32_t)};
}

}  // namespace

size_t Workspace::Bytes(const ModelConfig& config, const Shape& shape) {
  size_t total = 0;
  for (const size_t bytes : BufferBytes(config, shape)) total += Arena::Padded(bytes);
  return total;
}

absl::StatusOr<Workspace> Workspace::Make(const ModelConfig& config, const Shape& shape) {
  Workspace w;
  ASSIGN_OR_RETURN(w.storage, Allocate(Bytes(config, shape), Pages::kNormal));
  const auto bytes = BufferBytes(config, shape);
  Arena arena(w.storage);
  size_t next = 0;
  const auto take_floats = [&] { return reinterpret_cast<float*>(arena.Take(bytes[next++])); };
  for (float** buffer : {&w.residual, &w.normed, &w.qkv, &w.attended, &w.gate_up, &w.hidden}) {
    *buffer = take_floats();
  }
  w.panels = arena.Take(bytes[next++]);
  for (float** buffer : {&w.logits, &w.row_scratch, &w.expert_input, &w.queries, &w.head_sums}) {
    *buffer = take_floats();
  }
  w.expert_scratch = arena.Take(bytes[next++]);
  w.scratch_stride = Arena::Padded(shape.expert_scratch_bytes);
  for (float** buffer :
       {&w.mixture.logits, &w.mixture.head_gates, &w.mixture.gathered, &w.mixture.outputs}) {
    *buffer = take_floats();
  }
  w.mixture.row_of_pick = reinterpret_cast<int32_t*>(arena.Take(bytes[next++]));
  return w;
}

}  // namespace peerage::nn
