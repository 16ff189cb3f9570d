#include "model/nn/cpu/cpu_forward_pass.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/kernels/attention.h"
#include "model/kernels/kernel_target.h"
#include "model/nn/cpu/expert_counters.h"
#include "model/nn/cpu/kv_cache.h"
#include "model/nn/cpu/model_weights.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/cpu/workspace.h"

namespace peerage::nn::cpu {
namespace {

Workspace::Shape WorkspaceShape(const ModelPlan& plan, const Weights& weights,
                                const LoadOptions& options) {
  return {.widths = plan.Buffers(),
          .hidden_size = plan.hidden_size,
          .vocab_size = plan.vocab_size,
          .max_tokens = options.max_step_tokens,
          .threads = options.threads,
          .expert_scratch_bytes = weights.ExpertScratchBytes()};
}

ExpertCounters CountersOf(const ModelPlan& plan, const LoadOptions& options) {
  return ExpertCounters(plan.ExpertLayers(), {.count = options.count_experts,
                                              .trace = options.trace_experts,
                                              .max_tokens = options.max_step_tokens});
}

// Blocks that fit, but no more than all slots can use.
int NumBlocks(const ModelPlan& plan, size_t block_bytes, const LoadOptions& options) {
  const int64_t blocks_per_slot =
      (plan.max_positions + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  const int64_t fitting = options.kv_cache_bytes / static_cast<int64_t>(block_bytes);
  return static_cast<int>(std::min(fitting, blocks_per_slot * options.num_slots));
}

class CpuForwardPass final : public ForwardPass {
 public:
  CpuForwardPass(const ModelPlan& plan, const LoadOptions& options)
      : kv_cache_(plan),
        counters_(CountersOf(plan, options)),
        tap_(options.input_tap),
        pool_(options.threads) {
    facts_ = {.device = "cpu",
              .kernel_target = std::string(kernels::KernelTarget()),
              .kv_block_bytes = kv_cache_.block_bytes(),
              .kv_block_tokens = kernels::kBlockTokens,
              .num_kv_blocks = NumBlocks(plan, kv_cache_.block_bytes(), options),
              .takes_expert_control = true};
  }

  absl::Status Load(const ModelPlan& plan, const Checkpoint& checkpoint,
                    const LoadOptions& options) {
    weights_ = std::static_pointer_cast<const ModelWeights>(options.weights);
    if (weights_ == nullptr) {
      ASSIGN_OR_RETURN(weights_, ModelWeights::Read(plan, checkpoint, options, pool_));
    }
    facts_.weights_bytes = weights_->bytes();
    facts_.weights_dtype = weights_->dtype();
    return LayBuffers(plan, options);
  }

  const DeviceFacts& facts() const override { return facts_; }
  std::shared_ptr<const SharedWeights> weights() const override { return weights_; }

  absl::Status Run(const StepBatch& batch, absl::Span<Slot> slots, OutputRows& rows,
                   HiddenRows& hidden) override {
    kv_cache_.Copy(batch.copies());
    tables_.Assign(batch);
    tokens_ = batch.size();
    const StepContext step{pool_, workspace_, batch, tables_, counters_, tap_};
    Embed(step);
    const Weights& weights = weights_->weights();
    CopyResidual(0, hidden);
    const int layers = static_cast<int>(weights.blocks.size());
    for (int i = 0; i < layers; ++i) {
      weights.blocks[i].Forward(step, kv_cache_.layer(i));
      CopyResidual(i + 1, hidden);
    }
    weights.head.Normalize(step, hidden.RowsOf(layers + 1), hidden);
    weights.head.Forward(step, slots, rows, sampler_scratch_);
    return absl::OkStatus();
  }

  absl::Span<const ExpertPicks> Picks() override { return counters_.Picks(tokens_); }
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override {
    return counters_.Read(expert_layer, counts);
  }
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override {
    counters_.ReadSubKeys(expert_layer, counts);
  }
  void ClearUsage() override { counters_.Clear(); }

 private:
  // Everything but the weights.
  absl::Status LayBuffers(const ModelPlan& plan, const LoadOptions& options) {
    ASSIGN_OR_RETURN(kv_storage_, AllocateFor(Pages::kHuge, [&](Arena& arena) {
                       kv_cache_.Lay(facts_.num_kv_blocks, arena);
                     }));
    const Workspace::Shape shape = WorkspaceShape(plan, weights_->weights(), options);
    ASSIGN_OR_RETURN(workspace_storage_, AllocateFor(Pages::kNormal, [&](Arena& arena) {
                       workspace_.Lay(shape, arena);
                     }));
    ASSIGN_OR_RETURN(counters_storage_, AllocateFor(Pages::kHuge, [&](Arena& arena) {
                       counters_.LayCounters(arena);
                     }));
    ASSIGN_OR_RETURN(picks_storage_,
                     AllocateFor(Pages::kNormal, [&](Arena& arena) { counters_.LayPicks(arena); }));
    return absl::OkStatus();
  }

  void Embed(const StepContext& step) const {
    const kernels::PackedMatrix& embedding = weights_->weights().embedding;
    const size_t width = embedding.depth;
    step.ForTokens([&](RowRange rows) {
      for (int t = rows.first; t < rows.end; ++t) {
        kernels::UnpackRow(embedding, static_cast<int>(step.batch.tokens()[t].id),
                           workspace_.residual + t * width);
      }
    });
  }

  // Keeps what callers want to know of the residual stream as it is.
  void CopyResidual(int layer, HiddenRows& hidden) const {
    const HiddenRows::Range rows = hidden.RowsOf(layer);
    const size_t width = hidden.width();
    for (int row = rows.first; row < rows.end; ++row) {
      std::copy_n(workspace_.residual + hidden.tokens()[row] * width, width,
                  hidden.values().data() + row * width);
    }
  }

  DeviceFacts facts_;
  Storage kv_storage_, workspace_storage_, counters_storage_, picks_storage_;
  std::shared_ptr<const ModelWeights> weights_;
  KvCache kv_cache_;
  Workspace workspace_;
  ExpertCounters counters_;
  StepTables tables_;
  std::vector<SamplerScratch> sampler_scratch_;  // by thread
  const InputTap tap_;
  kernels::ThreadPool pool_;
  int tokens_ = 0;  // of the last step
};

}  // namespace

absl::Status CheckLoadable(const ModelPlan& plan, const LoadOptions& options) {
  for (const BlockPlan& block : plan.blocks) {
    const int head_dim = block.HeadDim();
    if (head_dim <= kernels::kMaxHeadDim) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "head_dim is ", head_dim, ", and attention takes at most ", kernels::kMaxHeadDim));
  }
  const auto block_bytes = static_cast<int64_t>(KvCache(plan).block_bytes());
  if (options.kv_cache_bytes < block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the KV cache of ", options.kv_cache_bytes, " bytes does not hold one block of ",
        kernels::kBlockTokens, " tokens (", block_bytes, " bytes)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<MemoryNeeds> MemoryNeedsOf(const ModelPlan& plan, const Checkpoint& checkpoint,
                                          const LoadOptions& options) {
  Arena sizes;
  WeightPlacer placer(checkpoint, FormatsOf(options), sizes);
  const Weights weights = Weights::Place(plan, placer);
  const Workspace::Shape shape = WorkspaceShape(plan, weights, options);
  Workspace workspace;
  ExpertCounters counters = CountersOf(plan, options);
  return MemoryNeeds{
      .weights_bytes = sizes.used(),
      .workspace_bytes = BytesFor([&](Arena& arena) { workspace.Lay(shape, arena); }),
      .picks_bytes = BytesFor([&](Arena& arena) { counters.LayPicks(arena); }),
      .counters_bytes = BytesFor([&](Arena& arena) { counters.LayCounters(arena); }),
      .kv_block_bytes = KvCache(plan).block_bytes(),
      .kv_block_tokens = kernels::kBlockTokens,
      .conversions = placer.conversions()};
}

absl::StatusOr<std::unique_ptr<ForwardPass>> LoadForwardPass(const ModelPlan& plan,
                                                             const Checkpoint& checkpoint,
                                                             const LoadOptions& options) {
  RETURN_IF_ERROR(CheckLoadable(plan, options));
  auto pass = std::make_unique<CpuForwardPass>(plan, options);
  RETURN_IF_ERROR(pass->Load(plan, checkpoint, options));
  return pass;
}

}  // namespace peerage::nn::cpu
