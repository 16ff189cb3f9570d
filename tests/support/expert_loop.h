#pragma once

#include <vector>

#include "model/experts/expert_control.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/product_key_loop.h"

namespace peerage {

// A forward pass in double that is as literal as docs/model_format.md: one expert after the other,
// one head after the other, no cache.

// What of it is rounded to bf16, as a device does whose activations and cache are bf16: what norms
// give to layers, keys, values, outputs of heads, hidden values of feed-forward layers. Sums and
// the residual stream are not.
enum class LoopRounding { kNone, kBF16 };

// What a layer's attention, or its feed-forward parts, add to the residual stream x of a whole
// sequence from position 0 on when they read u; and what the whole layer makes of x.
void AddAttentionLoop(const MemoryCheckpoint& checkpoint, int layer, const DoubleRows& u,
                      DoubleRows& x);
void AddFfnLoop(const MemoryCheckpoint& checkpoint, int layer, const DoubleRows& u, DoubleRows& x);
void AddBlockLoop(const MemoryCheckpoint& checkpoint, int layer, DoubleRows& x);

// The residual stream of a whole sequence by layers of HiddenRow: what enters the first layer, what
// each layer leaves, and the last of it after the final norm.
std::vector<DoubleRows> HiddenStatesLoop(const MemoryCheckpoint& checkpoint,
                                         const std::vector<TokenId>& tokens);

// Log-probabilities of tokens[1..], under a control whose tokens begin with tokens[0].
std::vector<double> ExpertLoopLogprobs(const MemoryCheckpoint& checkpoint,
                                       const std::vector<TokenId>& tokens,
                                       LoopRounding rounding = LoopRounding::kNone,
                                       const ExpertControl& control = {});

}  // namespace peerage
