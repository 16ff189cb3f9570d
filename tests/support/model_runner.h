#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/load_model.h"

namespace peerage {

// A model with room for a few sequences, on the CPU unless said otherwise. Dies with the reason
// when it does not load.
struct RunnerOptions {
  std::string device = "cpu";  // others have f32 activations and keys, as the CPU has
  nn::WeightsDtype weights_dtype = nn::WeightsDtype::kAuto;
  nn::ExpertDtype expert_dtype = nn::ExpertDtype::kAuto;
  int threads = 1;
  int num_slots = 8;
  int64_t kv_cache_bytes = int64_t{256} << 20;
};
std::unique_ptr<LanguageModel> LoadOrDie(const std::string& path, const RunnerOptions& options);

// The real model that tools/setup.sh brings.
inline constexpr char kSmolLm2[] = "build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf";

// What one expert layer picked: [tokens, heads, top_k].
struct PickedExperts {
  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

// Runs one sequence straight on a LanguageModel, without engine or server: blocks from
// `first_block` on, one slot.
class SequenceRunner {
 public:
  SequenceRunner(LanguageModel& model, SlotId slot, BlockId first_block);
  ~SequenceRunner();

  // Log-probabilities of tokens[1..], fed in chunks of at most `chunk`.
  std::vector<float> Score(const std::vector<TokenId>& tokens, int chunk);

  // The most likely continuation.
  std::vector<TokenId> Greedy(const std::vector<TokenId>& prompt, int count);

  // What these tokens pick in each expert layer, fed in one chunk.
  std::vector<PickedExperts> Picks(const std::vector<TokenId>& tokens);

 private:
  LanguageModel& model_;
  const SlotId slot_;
  std::vector<BlockId> blocks_;
};

}  // namespace peerage
