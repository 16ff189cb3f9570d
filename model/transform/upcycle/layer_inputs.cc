#include "model/transform/upcycle/layer_inputs.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "base/status_macros.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/nn/load_model.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {
namespace {

constexpr int kStepTokens = 512;

absl::Status CheckFiniteWeights(const Checkpoint& checkpoint) {
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const int64_t rows = tensor.shape.front();
    const int64_t at_once = std::max<int64_t>(1, kElementsAtOnce / RowElements(tensor.shape));
    for (int64_t first = 0; first < rows; first += at_once) {
      RETURN_IF_ERROR(
          ReadFiniteRows(checkpoint, tensor, first, std::min(at_once, rows - first)).status());
    }
  }
  return absl::OkStatus();
}

nn::LoadOptions OptionsFor(const Checkpoint& checkpoint, size_t longest, int threads) {
  const auto& tensors = checkpoint.tensors();
  const bool plain = std::all_of(tensors.begin(), tensors.end(),
                                 [](const TensorInfo& tensor) { return IsPlain(tensor.type); });
  nn::LoadOptions options;
  options.weights_dtype = plain ? nn::WeightsDtype::kAuto : nn::WeightsDtype::kF32;
  options.count_experts = options.trace_experts = false;
  options.threads = threads;
  options.max_step_tokens = static_cast<int>(std::min<size_t>(longest, kStepTokens));
  return options;
}

// Feeds one sequence, a piece at a time. Nothing is asked of what follows its tokens.
absl::Status Feed(LanguageModel& model, absl::Span<const TokenId> tokens,
                  const std::function<void(size_t)>& advance) {
  std::vector<BlockId> blocks(model.capacity().num_blocks);
  std::iota(blocks.begin(), blocks.end(), 0);
  const size_t at_once = model.capacity().max_step_tokens;
  for (size_t first = 0; first < tokens.size(); first += at_once) {
    const Chunk chunk{.tokens = tokens.subspan(first, at_once),
                      .first_position = static_cast<int32_t>(first),
                      .blocks = blocks};
    RETURN_IF_ERROR(model.Step({.chunks = {&chunk, 1}}).status());
    advance(chunk.tokens.size());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadLayerInputs(const Checkpoint& checkpoint,
                             absl::Span<const TokenSequence> sequences,
                             const LayerInputOptions& options,
                             const std::function<void(const LayerInput&)>& see) {
  size_t total = 0, longest = 1;
  for (const TokenSequence& sequence : sequences) {
    total += sequence.size();
    longest = std::max(longest, sequence.size());
  }
  nn::LoadOptions load = OptionsFor(checkpoint, longest, options.threads);
  ASSIGN_OR_RETURN(const nn::MemoryNeeds needs, nn::PlanMemory(checkpoint, load));
  const size_t blocks = (longest + needs.kv_block_tokens - 1) / needs.kv_block_tokens;
  load.kv_cache_bytes = static_cast<int64_t>(blocks * needs.kv_block_bytes);
  load.num_slots = static_cast<int>(blocks);  // room for a sequence beyond the model's context, too
  size_t current = 0;
  load.input_tap = [&](int layer, nn::LayerPart part, absl::Span<const float> rows) {
    see({.sequence = current, .layer = layer, .part = part, .rows = rows});
  };
  RETURN_IF_ERROR(nn::CheckLoadable(checkpoint, load));
  RETURN_IF_ERROR(CheckFiniteWeights(checkpoint));
  ASSIGN_OR_RETURN(const std::unique_ptr<LanguageModel> model, nn::LoadModel(checkpoint, load));

  size_t read = 0;
  const auto advance = [&](size_t tokens) {
    read += tokens;
    if (options.progress) options.progress(read, total);
  };
  for (; current < sequences.size(); ++current) {
    RETURN_IF_ERROR(Feed(*model, sequences[current], advance));
  }
  return absl::OkStatus();
}

}  // namespace peerage::transform
