#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/load_options.h"
#include "model/token.h"

namespace peerage::transform {

using TokenSequence = std::vector<TokenId>;

// Called with the tokens that were read so far and all of them.
using TokenProgress = std::function<void(size_t read, size_t total)>;

struct LayerInputOptions {
  int threads = 1;
  TokenProgress progress = {};  // after every piece of a sequence; may be empty
};

// Runs sequences of tokens, one after the other, through a model of any layers, as a server would
// on the CPU, for tools that look at what layers read. `see` is called for every part of every
// layer with the rows of some neighbouring tokens of one sequence, in the order of the tokens.
//
// Weights are held as they are stored, quantised ones in f32: nothing is rounded on the way. A
// weight that is not finite is an error that names its tensor, found before anything is computed.
// Precondition: no sequence is empty, and ids are below the vocabulary's size.
struct LayerInput {
  size_t sequence = 0;
  int layer = 0;
  nn::LayerPart part = nn::LayerPart::kAttention;
  absl::Span<const float> rows;  // [tokens][hidden], after the norm before the part
};
absl::Status ReadLayerInputs(const Checkpoint& checkpoint,
                             absl::Span<const TokenSequence> sequences,
                             const LayerInputOptions& options,
                             const std::function<void(const LayerInput&)>& see);

}  // namespace peerage::transform
