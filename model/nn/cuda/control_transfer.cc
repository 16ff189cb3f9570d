#include "model/nn/cuda/control_transfer.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

using kernels::cuda::RouterControl;
using kernels::cuda::RouterControls;

template <typename T, typename Values>
int Append(const Values& values, std::vector<T>& list) {
  const auto first = static_cast<int>(list.size());
  list.insert(list.end(), values.begin(), values.end());
  return first;
}

template <typename T>
void Copy(const std::vector<T>& from, T* to) {
  std::copy(from.begin(), from.end(), to);
}

}  // namespace

ControlTransfer::ControlTransfer(const std::vector<ExpertLayer>& layers) {
  for (const ExpertLayer& layer : layers) {
    layers_.push_back({.top_k = layer.top_k, .picks_per_token = layer.picks_per_token()});
  }
}

void ControlTransfer::Lists::Clear() {
  of_token.clear();
  entries.clear();
  masked.clear();
  biases.clear();
  forced_ids.clear();
  forced_weights.clear();
}

void ControlTransfer::Lay(const Lists& lists, Arena& arena, Arrays& arrays) {
  arrays.of_token = arena.TakeArray<int32_t>(lists.of_token.size());
  arrays.entries = arena.TakeArray<RouterControl>(lists.entries.size());
  arrays.masked = arena.TakeArray<uint32_t>(lists.masked.size());
  arrays.biases = arena.TakeArray<ExpertBias>(lists.biases.size());
  arrays.forced_ids = arena.TakeArray<uint32_t>(lists.forced_ids.size());
  arrays.forced_weights = arena.TakeArray<float>(lists.forced_weights.size());
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

absl::Status ControlTransfer::Describe(const StepBatch& batch, cudaStream_t stream) {
  if (!batch.has_control()) return absl::OkStatus();
  lists_.Clear();
  for (size_t l = 0; l < layers_.size(); ++l) AskLayer(batch, static_cast<int>(l));
  Arrays host;
  const size_t bytes = BytesFor([&](Arena& arena) { Lay(lists_, arena, host); });
  if (bytes == 0) return absl::OkStatus();
  RETURN_IF_ERROR(memory_.Reserve(bytes));
  Arena host_arena(memory_.host(), bytes, Arena::Guard::kNo);
  Lay(lists_, host_arena, host);
  Arena device_arena(memory_.device(), bytes, Arena::Guard::kNo);
  Lay(lists_, device_arena, device_);
  Copy(lists_.of_token, host.of_token);
  Copy(lists_.entries, host.entries);
  Copy(lists_.masked, host.masked);
  Copy(lists_.biases, host.biases);
  Copy(lists_.forced_ids, host.forced_ids);
  Copy(lists_.forced_weights, host.forced_weights);
  return ToStatus(
      cudaMemcpyAsync(memory_.device(), memory_.host(), bytes, cudaMemcpyHostToDevice, stream),
      "copying what is asked of routers");
}

void ControlTransfer::AskLayer(const StepBatch& batch, int expert_layer) {
  Layer& layer = layers_[expert_layer];
  layer.first = layer.end = 0;
  layer.first_of_token = lists_.of_token.size();
  lists_.of_token.resize(layer.first_of_token + batch.size(), -1);
  asked_.clear();
  for (size_t c = 0; c < batch.chunks().size(); ++c) {
    if (batch.chunks()[c].control != nullptr) AskChunk(batch, static_cast<int>(c), expert_layer);
  }
  if (layer.end == 0) lists_.of_token.resize(layer.first_of_token);
}

void ControlTransfer::AskChunk(const StepBatch& batch, int chunk, int expert_layer) {
  Layer& layer = layers_[expert_layer];
  const int first = batch.first_token(chunk);
  const auto end = first + static_cast<int>(batch.chunks()[chunk].tokens.size());
  for (int token = first; token < end; ++token) {
    const TokenControl control = batch.ControlOf(token, expert_layer);
    const int entry = control.ids.empty() ? EntryOf(*control.layer, layer) : ForcedEntryOf(control);
    if (entry < 0) continue;
    lists_.of_token[layer.first_of_token + token] = entry;
    if (layer.end == 0) layer.first = token;
    layer.end = token + 1;
  }
}

// The candidates of a request share one.
int ControlTransfer::EntryOf(const LayerControl& control, const Layer& layer) {
  for (const Asked& asked : asked_) {
    if (asked.control == &control) return asked.entry;
  }
  int entry = -1;
  if (!control.masked_ids.empty() || !control.biases.empty() || control.top_k != 0) {
    entry = static_cast<int>(lists_.entries.size());
    lists_.entries.push_back(
        {.top_k = static_cast<int32_t>(control.top_k == 0 ? layer.top_k : control.top_k),
         .first_masked = Append(control.masked_ids, lists_.masked),
         .masked = static_cast<int32_t>(control.masked_ids.size()),
         .first_bias = Append(control.biases, lists_.biases),
         .biases = static_cast<int32_t>(control.biases.size())});
  }
  asked_.push_back({&control, entry});
  return entry;
}

int ControlTransfer::ForcedEntryOf(const TokenControl& control) {
  RouterControl entry{.first_forced = Append(control.ids, lists_.forced_ids)};
  if (!control.weights.empty()) {
    entry.first_weight = Append(control.weights, lists_.forced_weights);
  }
  lists_.entries.push_back(entry);
  return static_cast<int>(lists_.entries.size()) - 1;
}

RouterControls ControlTransfer::OfLayer(int expert_layer) const {
  const Layer& layer = layers_[expert_layer];
  if (layer.end == 0) return {};
  return {.of_token = device_.of_token + layer.first_of_token,
          .first = layer.first,
          .end = layer.end,
          .entries = device_.entries,
          .masked = device_.masked,
          .biases = device_.biases,
          .forced_ids = device_.forced_ids,
          .forced_weights = device_.forced_weights};
}

}  // namespace peerage::nn::cuda
