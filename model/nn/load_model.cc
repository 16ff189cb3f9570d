#include "model/nn/load_model.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/nn/transformer.h"
#include "model/nn/weight_loader.h"
#include "model/status_macros.h"

namespace peerage::nn {
namespace {

kernels::AttentionShape ShapeOf(const ModelConfig& config) {
  return {.heads = config.num_heads,
          .kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim))};
}

// Bytes of one KV block over all layers.
int64_t KvBlockBytes(const ModelConfig& config) {
  return KvCache::BlockBytes(ShapeOf(config), static_cast<int>(config.layers.size()));
}

kernels::ActivationFunction FunctionOf(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return kernels::ActivationFunction::kSilu;
    case Activation::kGelu:
      return kernels::ActivationFunction::kGelu;
    case Activation::kGeluTanh:
      return kernels::ActivationFunction::kGeluTanh;
    case Activation::kRelu:
      return kernels::ActivationFunction::kRelu;
  }
  return kernels::ActivationFunction::kSilu;
}

// Builds layers from tensors in the order a token meets them, so a file is read front to back.
class ModelBuilder {
 public:
  ModelBuilder(const ModelConfig& config, WeightLoader& loader)
      : config_(config), loader_(loader) {}

  absl::StatusOr<Norm> MakeNorm(const std::string& name) {
    ASSIGN_OR_RETURN(const float* weight, loader_.Vector(name));
    return Norm{.type = config_.norm_type,
                .epsilon = config_.norm_eps,
                .width = config_.hidden_size,
                .weight = weight};
  }

  absl::StatusOr<Block> MakeBlock(int index) {
    const std::string prefix = absl::StrCat("model.layers.", index, ".");
    Block block;
    block.parallel = config_.parallel_block;
    ASSIGN_OR_RETURN(block.input_norm, MakeNorm(prefix + "input_norm.weight"));
    ASSIGN_OR_RETURN(block.attention, MakeAttention(prefix + "attention."));
    if (!block.parallel) {
      ASSIGN_OR_RETURN(block.post_attention_norm, MakeNorm(prefix + "post_attention_norm.weight"));
    }
    for (size_t i = 0; i < config_.layers[index].ffn.size(); ++i) {
      ASSIGN_OR_RETURN(DenseFfn ffn, MakeDenseFfn(prefix + "ffn.dense."));
      block.ffn.push_back(std::move(ffn));
    }
    return block;
  }

 private:
  absl::StatusOr<Attention> MakeAttention(const std::string& prefix) {
    Attention attention;
    attention.shape = ShapeOf(config_);
    attention.rope_interleaved = config_.rope_interleaved;
    ASSIGN_OR_RETURN(attention.qkv,
                     loader_.Linear({prefix + "q_proj.weight", prefix + "k_proj.weight",
                                     prefix + "v_proj.weight"}));
    ASSIGN_OR_RETURN(attention.output, loader_.Linear({prefix + "o_proj.weight"}));
    return attention;
  }

  absl::StatusOr<DenseFfn> MakeDenseFfn(const std::string& prefix) {
    DenseFfn ffn;
    ffn.activation = FunctionOf(config_.activation);
    ASSIGN_OR_RETURN(ffn.gate_up,
                     loader_.Linear({prefix + "gate_proj.weight", prefix + "up_proj.weight"}));
    ASSIGN_OR_RETURN(ffn.down, loader_.Linear({prefix + "down_proj.weight"}));
    return ffn;
  }

  const ModelConfig& config_;
  WeightLoader& loader_;
};

// Tells each linear layer what a step reads after it.
void LinkWeights(std::vector<Block>& blocks, LinearLayer& head) {
  std::vector<LinearLayer*> order;
  for (Block& block : blocks) {
    order.insert(order.end(), {&block.attention.qkv, &block.attention.output});
    for (DenseFfn& part : block.ffn) order.insert(order.end(), {&part.gate_up, &part.down});
  }
  order.push_back(&head);
  for (size_t i = 0; i < order.size(); ++i) {
    order[i]->next = order[(i + 1) % order.size()]->parts.front().tiles;
  }
}

ModelCapacity CapacityOf(const ModelConfig& config, const LoadOptions& options) {
  const int64_t block_bytes = KvBlockBytes(config);
  const int64_t blocks_per_slot =
      (config.max_positions + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  return {.block_tokens = kernels::kBlockTokens,
          .num_blocks = static_cast<int32_t>(
              std::min(options.kv_cache_bytes / block_bytes, blocks_per_slot * options.num_slots)),
          .num_slots = options.num_slots,
          .max_step_tokens = options.max_step_tokens};
}

ModelDescription Describe(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  ModelDescription d;
  d.architecture = config.architecture;
  d.num_layers = static_cast<uint32_t>(config.layers.size());
  d.hidden_size = config.hidden_size;
  d.vocabulary_size = config.vocab_size;
  d.context_length = config.max_positions;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    uint64_t elements = 1;
    for (const int64_t dim : tensor.shape) elements *= dim;
    d.total_parameters += elements;
  }
  d.active_parameters = d.total_parameters;  // dense layers: every token touches everything
  d.kv_bytes_per_token = KvBlockBytes(config) / kernels::kBlockTokens;
  d.device = "cpu";
  d.kernel_target = kernels::KernelTarget();
  return d;
}

// The format that holds most of the bytes.
std::string_view DominantFormat(const WeightLoader& loader) {
  using kernels::WeightFormat;
  WeightFormat most = WeightFormat::kF32;
  for (const WeightFormat f : {WeightFormat::kBF16, WeightFormat::kQ8_0, WeightFormat::kQ4_1}) {
    if (loader.bytes(f) > loader.bytes(most)) most = f;
  }
  return Name(most);
}

absl::Status CheckLoadable(const Checkpoint& checkpoint, const LoadOptions& options) {
  const int head_dim = checkpoint.config().head_dim;
  if (head_dim > kernels::kMaxHeadDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "head_dim is ", head_dim, ", and attention takes at most ", kernels::kMaxHeadDim));
  }
  const MemoryNeeds needs = PlanMemory(checkpoint, options);
  if (options.kv_cache_bytes < static_cast<int64_t>(needs.kv_block_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the KV cache of ", options.kv_cache_bytes, " bytes does not hold one block of ",
        needs.kv_block_tokens, " tokens (", needs.kv_block_bytes, " bytes)"));
  }
  return absl::OkStatus();
}

}  // namespace

MemoryNeeds PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options) {
  const ModelConfig& config = checkpoint.config();
  return {.weights_bytes = WeightBytes(checkpoint, options.weights_dtype),
          .workspace_bytes = Workspace::Bytes(config, options.max_step_tokens, options.threads),
          .kv_block_bytes = static_cast<uint64_t>(KvBlockBytes(config)),
          .kv_block_tokens = kernels::kBlockTokens};
}

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options) {
  InitializeTorch();
  const ModelConfig& config = checkpoint.config();
  RETURN_IF_ERROR(CheckLoadable(checkpoint, options));
  auto fingerprint = std::async(std::launch::async, [&] { return checkpoint.Fingerprint(); });

  auto pool = std::make_unique<kernels::ThreadPool>(options.threads);
  ASSIGN_OR_RETURN(Storage weights,
                   Allocate(WeightBytes(checkpoint, options.weights_dtype), Pages::kHuge));
  Arena arena(weights);
  WeightLoader loader(checkpoint, options.weights_dtype, *pool, arena);
  ModelBuilder builder(config, loader);

  ASSIGN_OR_RETURN(LinearLayer embedding, loader.Linear({"model.embed_tokens.weight"}));
  std::vector<Block> blocks;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    ASSIGN_OR_RETURN(Block block, builder.MakeBlock(static_cast<int>(i)));
    blocks.push_back(std::move(block));
  }
  ASSIGN_OR_RETURN(Norm norm, builder.MakeNorm("model.norm.weight"));
  LinearLayer projection = embedding;
  if (!config.tied_embeddings) {
    ASSIGN_OR_RETURN(projection, loader.Linear({"lm_head.weight"}));
  }
  LinkWeights(blocks, projection);

  const ModelCapacity capacity = CapacityOf(config, options);
  ASSIGN_OR_RETURN(KvCache kv_cache,
                   KvCache::Make({.shape = ShapeOf(config),
                                  .num_layers = static_cast<int>(config.layers.size()),
                                  .num_blocks = capacity.num_blocks}));
  ASSIGN_OR_RETURN(Workspace workspace,
                   Workspace::Make(config, options.max_step_tokens, options.threads));

  ModelDescription description = Describe(checkpoint);
  description.weights_dtype = DominantFormat(loader);
  description.weights_bytes = arena.used();
  ASSIGN_OR_RETURN(description.fingerprint, fingerprint.get());
  TransformerParts parts{.weights = std::move(weights),
                         .embedding = embedding.parts.front(),
                         .blocks = std::move(blocks),
                         .head = OutputHead(norm, std::move(projection)),
                         .kv_cache = std::move(kv_cache),
                         .workspace = std::move(workspace),
                         .batch = StepBatch({.kv_heads = config.num_kv_heads,
                                             .head_dim = config.head_dim,
                                             .rope_theta = config.rope_theta}),
                         .pool = std::move(pool)};
  return std::make_unique<Transformer>(std::move(description), capacity, std::move(parts));
}

}  // namespace peerage::nn
