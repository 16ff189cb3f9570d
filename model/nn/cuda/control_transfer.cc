#include "model/nn/cuda/control_transfer.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

using kernels::cuda::RouterControl;
using kernels::cuda::RouterControls;

constexpr int32_t kNothing = -1;
constexpr size_t kWordBytes = sizeof(uint32_t);

static_assert(alignof(RouterControl) <= kWordBytes && alignof(ExpertBias) <= kWordBytes);

}  // namespace

ControlTransfer::ControlTransfer(const std::vector<ExpertLayer>& layers) {
  for (const ExpertLayer& layer : layers) {
    layers_.push_back({.top_k = layer.top_k, .picks_per_token = layer.picks_per_token()});
  }
}

size_t ControlTransfer::ReservedBytes(int tokens) const {
  if (layers_.empty()) return 0;
  constexpr size_t kListBytes = size_t{1} << 20;
  size_t bytes = kListBytes;
  for (const Layer& layer : layers_) {
    const size_t picks_bytes = layer.picks_per_token * (sizeof(uint32_t) + sizeof(float));
    bytes += tokens * (sizeof(int32_t) + sizeof(RouterControl) + picks_bytes);
  }
  return bytes;
}

absl::Status ControlTransfer::Reserve(int tokens) { return memory_.Reserve(ReservedBytes(tokens)); }

absl::Status ControlTransfer::Describe(int tokens, const StepBatch& batch, cudaStream_t stream) {
  of_step_.clear();
  if (!batch.has_control()) return absl::OkStatus();
  const size_t words_of_tokens = layers_.size() * tokens;
  words_.resize(words_of_tokens);
  for (size_t l = 0; l < layers_.size(); ++l) {
    of_token_.assign(tokens, kNothing);
    AskLayer(batch, static_cast<int>(l));
    std::copy(of_token_.begin(), of_token_.end(), words_.data() + l * tokens);
  }
  if (words_.size() == words_of_tokens) return absl::OkStatus();
  const size_t bytes = words_.size() * kWordBytes;
  RETURN_IF_ERROR(memory_.Reserve(bytes));
  std::memcpy(memory_.host(), words_.data(), bytes);
  of_step_ = OfAnyStep(tokens);
  for (size_t l = 0; l < layers_.size(); ++l) {
    of_step_[l].first = layers_[l].first;
    of_step_[l].end = layers_[l].end;
  }
  return ToStatus(
      cudaMemcpyAsync(memory_.device(), memory_.host(), bytes, cudaMemcpyHostToDevice, stream),
      "copying what is asked of routers");
}

absl::Status ControlTransfer::Clear(int tokens, cudaStream_t stream) {
  static_assert(kNothing == -1, "all bits are set");
  return ToStatus(
      cudaMemsetAsync(memory_.device(), 0xff, layers_.size() * tokens * kWordBytes, stream),
      "clearing what is asked of routers");
}

std::vector<RouterControls> ControlTransfer::OfAnyStep(int tokens) const {
  std::vector<RouterControls> controls;
  for (size_t l = 0; l < layers_.size(); ++l) {
    controls.push_back({.of_token = reinterpret_cast<const int32_t*>(memory_.device()) + l * tokens,
                        .first = 0,
                        .end = tokens,
                        .words = reinterpret_cast<const uint32_t*>(memory_.device())});
  }
  return controls;
}

void ControlTransfer::AskLayer(const StepBatch& batch, int expert_layer) {
  Layer& layer = layers_[expert_layer];
  layer.first = layer.end = 0;
  asked_.clear();
  for (size_t c = 0; c < batch.chunks().size(); ++c) {
    if (batch.chunks()[c].control != nullptr) AskChunk(batch, static_cast<int>(c), expert_layer);
  }
}

void ControlTransfer::AskChunk(const StepBatch& batch, int chunk, int expert_layer) {
  Layer& layer = layers_[expert_layer];
  const int first = batch.first_token(chunk);
  const auto end = first + static_cast<int>(batch.chunks()[chunk].tokens.size());
  for (int token = first; token < end; ++token) {
    const TokenControl control = batch.ControlOf(token, expert_layer);
    const int entry = control.ids.empty() ? EntryOf(*control.layer, layer) : ForcedEntryOf(control);
    if (entry == kNothing) continue;
    of_token_[token] = entry;
    if (layer.end == 0) layer.first = token;
    layer.end = token + 1;
  }
}

// The candidates of a request share one.
int ControlTransfer::EntryOf(const LayerControl& control, const Layer& layer) {
  for (const Asked& asked : asked_) {
    if (asked.control == &control) return asked.entry;
  }
  int entry = kNothing;
  if (!control.masked_ids.empty() || !control.biases.empty() || control.top_k != 0) {
    entry = Append<RouterControl>(
        {{.top_k = static_cast<int32_t>(control.top_k == 0 ? layer.top_k : control.top_k),
          .first_masked = Append<uint32_t>(control.masked_ids),
          .masked = static_cast<int32_t>(control.masked_ids.size()),
          .first_bias = Append<ExpertBias>(control.biases),
          .biases = static_cast<int32_t>(control.biases.size())}});
  }
  asked_.push_back({&control, entry});
  return entry;
}

int ControlTransfer::ForcedEntryOf(const TokenControl& control) {
  RouterControl entry{.first_forced = Append(control.ids)};
  if (!control.weights.empty()) entry.first_weight = Append(control.weights);
  return Append<RouterControl>({entry});
}

// The list's first word.
template <typename T>
int ControlTransfer::Append(absl::Span<const T> list) {
  const size_t first = words_.size();
  words_.resize(first + list.size() * sizeof(T) / kWordBytes);
  if (!list.empty()) std::memcpy(&words_[first], list.data(), list.size() * sizeof(T));
  return static_cast<int>(first);
}

}  // namespace peerage::nn::cuda
