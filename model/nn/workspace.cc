#include "model/nn/workspace.h"

#include <algorithm>
#include <array>
#include <utility>

#include "model/kernels/linear.h"
#include "model/status_macros.h"

namespace peerage::nn {
namespace {

// Bytes of each buffer, in the order of Workspace's members.
std::array<size_t, 9> BufferBytes(const ModelConfig& c, int max_tokens, int threads) {
  const size_t tokens = std::max(max_tokens, Workspace::kLogitRows);
  const int attended = c.num_heads * c.head_dim;
  const int hidden = Workspace::HiddenWidth(c);
  const int widest = std::max({c.hidden_size, attended, hidden});
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
          size_t(threads) * c.vocab_size * sizeof(float)};
}

}  // namespace

int Workspace::HiddenWidth(const ModelConfig& config) {
  int width = 0;
  for (const LayerConfig& layer : config.layers) {
    for (const FfnConfig& ffn : layer.ffn) width = std::max(width, ffn.intermediate_size);
  }
  return width;
}

size_t Workspace::Bytes(const ModelConfig& config, int max_tokens, int threads) {
  size_t total = 0;
  for (const size_t bytes : BufferBytes(config, max_tokens, threads)) total += Arena::Padded(bytes);
  return total;
}

absl::StatusOr<Workspace> Workspace::Make(const ModelConfig& config, int max_tokens, int threads) {
  Workspace w;
  ASSIGN_OR_RETURN(w.storage, Allocate(Bytes(config, max_tokens, threads), Pages::kNormal));
  const auto bytes = BufferBytes(config, max_tokens, threads);
  Arena arena(w.storage);
  size_t next = 0;
  for (float** buffer : {&w.residual, &w.normed, &w.qkv, &w.attended, &w.gate_up, &w.hidden}) {
    *buffer = reinterpret_cast<float*>(arena.Take(bytes[next++]));
  }
  w.panels = arena.Take(bytes[next++]);
  w.logits = reinterpret_cast<float*>(arena.Take(bytes[next++]));
  w.row_scratch = reinterpret_cast<float*>(arena.Take(bytes[next++]));
  return w;
}

}  // namespace peerage::nn
