#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/load_model.h"

namespace peerage {

// A sequence that a test feeds into a model, and its KV blocks.
struct FedSequence {
  std::vector<TokenId> tokens;
  std::vector<BlockId> blocks;
  const ExpertControl* control = nullptr;  // its tokens begin with tokens[0]
};

// Ids below 60, which lie in the vocabulary of SmallConfig.
std::vector<TokenId> Prompt(int count, int stride);

// A model with room for 8 sequences and 1 MiB of keys and values.
std::unique_ptr<LanguageModel> LoadSmall(const Checkpoint& checkpoint,
                                         nn::LoadOptions options = {});

struct FeedResult {
  std::vector<std::vector<float>> logprobs;  // [sequences][tokens - 1]
  std::vector<absl::Status> status;          // [sequences]
  std::vector<std::vector<uint32_t>> ids;    // [expert layers], all tokens
  std::vector<std::vector<float>> weights;
};

// Feeds whole sequences, a slot each, `chunk` tokens of each in a step, and scores every token but
// the first.
FeedResult Feed(LanguageModel& model, const std::vector<FedSequence>& sequences,
                size_t chunk = 1000);

// Feeds them so, and reports every row of these layers instead: [sequences][tokens - 1] of
// [layers][hidden_size].
using FedHiddenStates = std::vector<std::vector<std::vector<float>>>;
FedHiddenStates FeedForHidden(LanguageModel& model, const std::vector<FedSequence>& sequences,
                              const std::vector<int32_t>& layers, size_t chunk = 1000);

// What the model counted since it was loaded is what the steps of `fed` traced.
void ExpectUsageIsWhatTracesSay(LanguageModel& model, const FeedResult& fed);

}  // namespace peerage
