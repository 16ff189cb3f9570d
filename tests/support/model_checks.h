#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/load_model.h"

namespace peerage {

// What must hold of every model with experts, whatever its layers are.

// How near two answers of one model are that batch invariance makes equal: 0 where it is promised.
using Tolerance = double;
void ExpectLogprobsNear(const std::vector<float>& actual, const std::vector<float>& expected,
                        Tolerance tolerance);

// A token whose embedding is not a number fails its own sequence, before or behind a healthy one in
// the batch; the healthy one keeps its bits, and every pick is an expert. The config, d = 32 and
// above 66 tokens, gets a head of its own, so that the embedding poisons nobody else's logits.
void ExpectANaNFailsItsOwnSequenceAlone(ModelConfig config, uint32_t seed, nn::LoadOptions options);
// The same of any model that has been loaded so.
void ExpectATokenFailsItsOwnSequenceAlone(LanguageModel& model, TokenId token, Tolerance tolerance);

// A fork that shares a full block of its origin and has a copy of the next one scores the rest as
// the origin would. The model takes 50 tokens.
void ExpectAForkContinuesItsOriginsSequence(const Checkpoint& checkpoint);
void ExpectAForkContinuesItsOriginsSequence(LanguageModel& model, Tolerance tolerance);

void ExpectThePlanIsWhatLoadingTakes(const Checkpoint& checkpoint, const nn::LoadOptions& options);

// Counters and traces are empty then, and the log-probabilities keep their bits.
void ExpectWhatIsSwitchedOffIsNotReported(const Checkpoint& checkpoint);
// The same of two models of one checkpoint.
void ExpectWhatIsSwitchedOffIsNotReported(LanguageModel& silent, LanguageModel& reporting,
                                          Tolerance tolerance);

// Progress grows with every report and ends at the bytes of all tensors.
void ExpectLoadingSaysHowFarItIs(const Checkpoint& checkpoint);
// The same of load(options), which loads the checkpoint.
void ExpectLoadingSaysHowFarItIs(const Checkpoint& checkpoint,
                                 const std::function<void(const nn::LoadOptions&)>& load);

}  // namespace peerage
