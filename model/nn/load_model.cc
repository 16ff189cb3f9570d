#include "model/nn/load_model.h"

#include <future>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/nn/cpu/cpu_forward_pass.h"
#ifdef PEERAGE_CUDA
#include "model/nn/cuda/cuda_forward_pass.h"
#endif
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
          .expert_layers = plan.ExpertLayers(),
          .takes_expert_control = facts.takes_expert_control};
}

// What a device can do with a model. A further one is a row of the table.
struct Device {
  absl::string_view kind;  // of "cpu", "cuda:0"
  absl::Status (*check)(const ModelPlan&, const LoadOptions&);
  absl::StatusOr<MemoryNeeds> (*memory_needs)(const ModelPlan&, const Checkpoint&,
                                              const LoadOptions&);
  absl::StatusOr<std::unique_ptr<ForwardPass>> (*load)(const ModelPlan&, const Checkpoint&,
                                                       const LoadOptions&);
};

constexpr Device kDevices[] = {
    {"cpu", cpu::CheckLoadable, cpu::MemoryNeedsOf, cpu::LoadForwardPass},
#ifdef PEERAGE_CUDA
    {"cuda", cuda::CheckLoadable, cuda::MemoryNeedsOf, cuda::LoadForwardPass},
#endif
};

absl::string_view KindOf(absl::string_view device) { return device.substr(0, device.find(':')); }

absl::StatusOr<const Device*> DeviceOf(const LoadOptions& options) {
  const absl::string_view kind = KindOf(options.device);
  for (const Device& device : kDevices) {
    if (device.kind == kind) return &device;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("this build runs no models on device ", Quoted(options.device)));
}

}  // namespace

DeviceChoice ChooseDevice() {
#ifdef PEERAGE_CUDA
  const absl::StatusOr<int> devices = cuda::CountDevices();
  if (!devices.ok()) {
    return {.device = "cpu",
            .reason = std::string(devices.status().message()),
            .passes_over = !absl::IsNotFound(devices.status())};
  }
  std::string unfit;
  for (int i = 0; i < *devices; ++i) {
    const std::string device = absl::StrCat("cuda:", i);
    const absl::Status status = cuda::CheckDevice(device);
    if (!status.ok()) {
      absl::StrAppend(&unfit, "; ", status.message());
    } else if (*devices == 1) {
      return {.device = device, .reason = "the only CUDA device"};
    } else {
      return {.device = device,
              .reason = absl::StrCat("the first of ", *devices, " CUDA devices",
                                     unfit.empty() ? "" : " that serves", unfit),
              .passes_over = !unfit.empty()};
    }
  }
  return {.device = "cpu", .reason = unfit.substr(2), .passes_over = true};
#else
  return {.device = "cpu", .reason = ""};
#endif
}

absl::Status CheckDevice(absl::string_view device) {
  if (KindOf(device) == "cpu") return absl::OkStatus();
#ifdef PEERAGE_CUDA
  return cuda::CheckDevice(device);
#else
  return absl::InvalidArgumentError("this build has no CUDA");
#endif
}

absl::StatusOr<MemoryNeeds> PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const Device* device, DeviceOf(options));
  return device->memory_needs(PlanModel(checkpoint.config()), checkpoint, options);
}

absl::Status CheckLoadable(const Checkpoint& checkpoint, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const Device* device, DeviceOf(options));
  return device->check(PlanModel(checkpoint.config()), options);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options) {
  return ModelFamily(&checkpoint, options).Load(options.threads);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> ModelFamily::Load(int threads) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const Device* device, DeviceOf(options_));
  const ModelConfig& config = checkpoint_.config();
  const ModelPlan plan = PlanModel(config);
  std::future<absl::StatusOr<std::string>> hashed;
  if (fingerprint_.empty()) {
    hashed = std::async(std::launch::async, [this] { return checkpoint_.Fingerprint(); });
  }
  LoadOptions options = options_;
  options.threads = threads;
  ASSIGN_OR_RETURN(std::unique_ptr<ForwardPass> forward_pass,
                   device->load(plan, checkpoint_, options));
  options_.weights = forward_pass->weights();
  if (hashed.valid()) {
    ASSIGN_OR_RETURN(fingerprint_, hashed.get());
  }
  const DeviceFacts& facts = forward_pass->facts();
  const ModelCapacity capacity{.block_tokens = facts.kv_block_tokens,
                               .num_blocks = facts.num_kv_blocks,
                               .num_slots = options.num_slots,
                               .max_step_tokens = options.max_step_tokens};
  ModelDescription description = Describe(config, plan, facts);
  description.fingerprint = fingerprint_;
  return std::make_unique<Transformer>(std::move(description), capacity, std::move(forward_pass));
}

}  // namespace peerage::nn
