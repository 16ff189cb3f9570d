#include "model/nn/load_model.h"

#include <future>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "model/nn/cpu/cpu_forward_pass.h"
#include "model/nn/plan/model_plan.h"
#include "model/nn/transformer.h"

namespace peerage::nn {
namespace {

ModelDescription Describe(const ModelConfig& config, const ModelPlan& plan,
                          const DeviceFacts& facts) {
  return {.architecture = config.architecture,
          .total_parameters = plan.Parameters(),
          .active_parameters = plan.ActiveParameters(),
          .num_layers = static_cast<uint32_t>(config.layers.size()),
          .hidden_size = static_cast<uint32_t>(config.hidden_size),
          .vocabulary_size = static_cast<uint32_t>(config.vocab_size),
          .context_length = static_cast<uint32_t>(config.max_positions),
          .weights_dtype = facts.weights_dtype,
          .weights_bytes = facts.weights_bytes,
          .kv_bytes_per_token = facts.kv_block_bytes / facts.kv_block_tokens,
          .device = facts.device,
          .kernel_target = facts.kernel_target,
          .expert_layers = plan.ExpertLayers()};
}

}  // namespace

absl::StatusOr<MemoryNeeds> PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options) {
  return cpu::PlanMemory(PlanModel(checkpoint.config()), checkpoint, options);
}

absl::Status CheckLoadable(const Checkpoint& checkpoint, const LoadOptions& options) {
  return cpu::CheckLoadable(PlanModel(checkpoint.config()), options);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options) {
  const ModelConfig& config = checkpoint.config();
  const ModelPlan plan = PlanModel(config);
  auto fingerprint = std::async(std::launch::async, [&] { return checkpoint.Fingerprint(); });
  ASSIGN_OR_RETURN(std::unique_ptr<ForwardPass> forward_pass,
                   cpu::LoadForwardPass(plan, checkpoint, options));
  const DeviceFacts& facts = forward_pass->facts();
  const ModelCapacity capacity{.block_tokens = facts.kv_block_tokens,
                               .num_blocks = facts.num_kv_blocks,
                               .num_slots = options.num_slots,
                               .max_step_tokens = options.max_step_tokens};
  ModelDescription description = Describe(config, plan, facts);
  ASSIGN_OR_RETURN(description.fingerprint, fingerprint.get());
  return std::make_unique<Transformer>(std::move(description), capacity, std::move(forward_pass));
}

}  // namespace peerage::nn
