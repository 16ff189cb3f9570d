#include "model/nn/workspace.h"

#include <algorithm>
#include <array>
#include <utility>

#include "model/kernels/linear.h"
#include "model/status_macros.h"

namespace peerage::nn {
namespace {

// What the widest layer with product keys needs of every token; zeros when there is none.
struct ProductKeyWidths {
  size_t input = 0;      // a norm of its own
  size_t queries = 0;    // or direct scores
  size_t head_sums = 0;  // of a batch that is smaller than the team
};

ProductKeyWidths WidthsOf(const ModelConfig& config) {
  ProductKeyWidths widths;
  for (const LayerConfig& layer : config.layers) {
    for (const FfnConfig& ffn : layer.ffn) {
      if (ffn.kind == FfnKind::kDense) continue;
      const ProductKeyConfig& p = ffn.product_keys;
      const size_t heads = p.heads;
      const size_t query = p.keys == ProductKeys::kDirect ? 2 * p.num_sub_keys : p.key_dim;
      widths.queries = std::max(widths.queries, heads * query);
      widths.head_sums = std::max(widths.head_sums, heads * config.hidden_size);
      if (p.norm != PeerNorm::kNone) widths.input = config.hidden_size;
    }
  }
  return widths;
}

// Bytes of each buffer, in the order of Workspace's members.
std::array<size_t, 13> BufferBytes(const ModelConfig& c, const Workspace::Shape& shape) {
  const size_t tokens = std::max(shape.max_tokens, Workspace::kLogitRows);
  const size_t threads = shape.threads;
  const int attended = c.num_heads * c.head_dim;
  const int hidden = Workspace::HiddenWidth(c);
  const int widest = std::max({c.hidden_size, attended, hidden});
  const ProductKeyWidths product_keys = WidthsOf(c);
  // Panels hold whole blocks: a depth that is no multiple of 32 never becomes a panel.
  const size_t panels =
      kernels::PanelBytes(kernels::WeightFormat::kQ8_0, widest / kernels::kBlock * kernels::kBlock,
                          static_cast<int>(tokens));
  return {tokens * c.hidden_size * sizeof(float),
          tokens * c.hidden_size * sizeof(float),
          tokens * (attended + 2 * c.num_kv_heads * c.head_dim) * sizeof(float),
          tokens * attended * sizeof(float),
          tokens * 2 * hidden * sizeof(float),
          tokens * hidden * sizeof(float),
          panels,
          Workspace::kLogitRows * size_t(c.vocab_size) * sizeof(float),
          threads * c.vocab_size * sizeof(float),
          tokens * product_keys.input * sizeof(float),
          tokens * product_keys.queries * sizeof(float),
          (threads - 1) * product_keys.head_sums * sizeof(float),
          threads * Arena::Padded(shape.expert_scratch_bytes)};
}

}  // namespace

int Workspace::HiddenWidth(const ModelConfig& config) {
  int width = 0;
  for (const LayerConfig& layer : config.layers) {
    for (const FfnConfig& ffn : layer.ffn) width = std::max(width, ffn.intermediate_size);
  }
  return width;
}

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
  return w;
}

}  // namespace peerage::nn
