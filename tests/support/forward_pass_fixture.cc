#include "tests/support/forward_pass_fixture.h"

#include <utility>

#include "model/nn/transformer.h"

namespace peerage {

nn::LoadOptions ForwardPassSuite::WithRoom(nn::LoadOptions options) {
  options.num_slots = kSlots;
  options.max_step_tokens = 256;
  if (options.kv_cache_bytes == 0) options.kv_cache_bytes = 4 << 20;
  return options;
}

absl::StatusOr<std::unique_ptr<nn::ForwardPass>> ForwardPassSuite::LoadPass(
    const Checkpoint& checkpoint, nn::LoadOptions options) {
  return GetParam().load(nn::PlanModel(checkpoint.config()), checkpoint,
                         WithRoom(std::move(options)));
}

std::unique_ptr<LanguageModel> ForwardPassSuite::LoadModel(const Checkpoint& checkpoint,
                                                           nn::LoadOptions options) {
  auto pass = LoadPass(checkpoint, std::move(options));
  EXPECT_TRUE(pass.ok()) << pass.status();
  const nn::DeviceFacts facts = (*pass)->facts();
  return std::make_unique<nn::Transformer>(
      ModelDescription{.num_layers = static_cast<uint32_t>(checkpoint.config().layers.size()),
                       .hidden_size = static_cast<uint32_t>(checkpoint.config().hidden_size),
                       .vocabulary_size = static_cast<uint32_t>(checkpoint.config().vocab_size),
                       .expert_layers = nn::PlanModel(checkpoint.config()).ExpertLayers()},
      ModelCapacity{.block_tokens = facts.kv_block_tokens,
                    .num_blocks = facts.num_kv_blocks,
                    .num_slots = kSlots,
                    .max_step_tokens = 256},
      *std::move(pass));
}

}  // namespace peerage
