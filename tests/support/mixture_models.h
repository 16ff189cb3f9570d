#pragma once

#include <string>

#include "model/config/model_config.h"
#include "tests/support/memory_checkpoint.h"

namespace peerage {

// What oracles of mixtures are built from: small models whose experts are copies of dense layers.

AttentionConfig SoftAttention(int experts, MixtureKv kv);
AttentionConfig TopKAttention(AttentionConfig soft, int top_k, bool normalize);
MixtureFfnConfig MixtureFfnPart(int experts, int top_k, bool normalize);

// SmallConfig with the same attention and feed-forward part in each layer.
ModelConfig MixtureModel(const AttentionConfig& attention, const FfnConfig& ffn);

// Copies what both models have under one name and in one shape.
void CopyCommon(const MemoryCheckpoint& from, MemoryCheckpoint& to);

// Makes a dense model's layers one of the mixtures' experts.
void CopyExpert(const MemoryCheckpoint& dense, int expert, MemoryCheckpoint& mixture);

// Gives every token an embedding of mean square one whose first value is one, and lets no layer
// write to that value: in the first layer the first value of a block's input is then the same for
// every token, and a constant can be added to logits, which have no bias. Precondition: RMSNorm.
void MakeFirstValueConstant(MemoryCheckpoint& checkpoint);

// Adds a constant to an expert's logit in the first layer of such a model. `router`: "attention."
// or "ffn.mixture.".
void ShiftLogit(MemoryCheckpoint& checkpoint, const std::string& router, int expert, float shift);

}  // namespace peerage
