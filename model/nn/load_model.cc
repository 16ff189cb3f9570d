#include "model/nn/load_model.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/parameter_count.h"
#include "model/config/expert_layers.h"
#include "model/kernels/attention.h"
#include "model/kernels/kernel_target.h"
#include "model/nn/model_builder.h"
#include "model/nn/transformer.h"

namespace peerage::nn {
namespace {

std::vector<kernels::AttentionShape> AttentionShapes(const ModelConfig& config) {
  std::vector<kernels::AttentionShape> shapes;
  for (const LayerConfig& layer : config.layers) {
    shapes.push_back(AttentionShapeOf(config, layer.attention));
  }
  return shapes;
}

// Bytes of one KV block over all layers.
int64_t KvBlockBytes(const ModelConfig& config) {
  return static_cast<int64_t>(KvCache::BlockBytes(AttentionShapes(config)));
}

// The linear layers that every step reads whole, in the order it reads them. (What comes after a
// mixture's choice is not known before.)
void AppendLayers(Block& block, std::vector<LinearLayer*>& order) {
  const auto append_mixture_routers = [&] {
    for (FeedForward& part : block.ffn) {
      if (auto* mixture = std::get_if<MixtureFfn>(&part)) {
        order.push_back(&mixture->router.projection);
      }
    }
  };
  if (block.parallel) append_mixture_routers();
  if (auto* dense = std::get_if<Attention>(&block.attention)) {
    order.insert(order.end(), {&dense->qkv, &dense->output});
  } else {
    auto& mixture = std::get<MixtureAttention>(block.attention);
    order.insert(order.end(),
                 {&mixture.router.projection, &mixture.wide.qkv, &mixture.wide.output});
  }
  if (!block.parallel) append_mixture_routers();
  for (FeedForward& part : block.ffn) {
    if (auto* dense = std::get_if<DenseFfn>(&part)) {
      order.insert(order.end(), {&dense->gate_up, &dense->down});
    } else if (auto* peer = std::get_if<Peer>(&part)) {
      order.push_back(&peer->experts.router.query);
    } else if (auto* memory = std::get_if<ProductKeyMemory>(&part)) {
      order.push_back(&memory->values.router.query);
    }
  }
}

// Tells each linear layer what a step reads after it.
void LinkWeights(ModelWeights& weights) {
  std::vector<LinearLayer*> order;
  for (Block& block : weights.blocks) AppendLayers(block, order);
  order.push_back(&weights.head);
  for (size_t i = 0; i < order.size(); ++i) {
    order[i]->next = order[(i + 1) % order.size()]->parts.front().tiles;
  }
}

WeightLoader::Options LoaderOptions(const LoadOptions& options) {
  return {.weights_dtype = options.weights_dtype,
          .expert_dtype = options.expert_dtype,
          .progress = options.progress};
}

Workspace::Shape WorkspaceShape(const ModelWeights& weights, const LoadOptions& options) {
  return {.max_tokens = options.max_step_tokens,
          .threads = options.threads,
          .expert_scratch_bytes = weights.ExpertScratchBytes()};
}

ExpertCounters::Options CounterOptions(const LoadOptions& options) {
  return {.count = options.count_experts,
          .trace = options.trace_experts,
          .max_tokens = options.max_step_tokens};
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
  const ParameterCount parameters = CountParameters(config);
  d.total_parameters = parameters.total;
  d.active_parameters = parameters.active;
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

absl::Status CheckLoadable(const Checkpoint& checkpoint, const MemoryNeeds& needs,
                           const LoadOptions& options) {
  if (const int head_dim = checkpoint.config().head_dim; head_dim > kernels::kMaxHeadDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "head_dim is ", head_dim, ", and attention takes at most ", kernels::kMaxHeadDim));
  }
  if (options.kv_cache_bytes < static_cast<int64_t>(needs.kv_block_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the KV cache of ", options.kv_cache_bytes, " bytes does not hold one block of ",
        needs.kv_block_tokens, " tokens (", needs.kv_block_bytes, " bytes)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MemoryNeeds> PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options) {
  const ModelConfig& config = checkpoint.config();
  Arena arena;
  WeightLoader loader(checkpoint, LoaderOptions(options), nullptr, arena);
  ASSIGN_OR_RETURN(const ModelWeights weights, ModelBuilder(config, loader).Build());
  return MemoryNeeds{
      .weights_bytes = arena.used(),
      .workspace_bytes = Workspace::Bytes(config, WorkspaceShape(weights, options)),
      .picks_bytes = ExpertCounters::PickBytes(ExpertLayersOf(config), CounterOptions(options)),
      .kv_block_bytes = static_cast<uint64_t>(KvBlockBytes(config)),
      .kv_block_tokens = kernels::kBlockTokens,
      .conversions = loader.conversions()};
}

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options) {
  InitializeTorch();
  const ModelConfig& config = checkpoint.config();
  ASSIGN_OR_RETURN(const MemoryNeeds needs, PlanMemory(checkpoint, options));
  RETURN_IF_ERROR(CheckLoadable(checkpoint, needs, options));
  auto fingerprint = std::async(std::launch::async, [&] { return checkpoint.Fingerprint(); });

  auto pool = std::make_unique<kernels::ThreadPool>(options.threads);
  ASSIGN_OR_RETURN(Storage storage, Allocate(needs.weights_bytes, Pages::kHuge));
  Arena arena(storage);
  WeightLoader loader(checkpoint, LoaderOptions(options), pool.get(), arena);
  ASSIGN_OR_RETURN(ModelWeights weights, ModelBuilder(config, loader).Build());
  LinkWeights(weights);

  const ModelCapacity capacity = CapacityOf(config, options);
  ASSIGN_OR_RETURN(KvCache kv_cache, KvCache::Make({.layers = AttentionShapes(config),
                                                    .num_blocks = capacity.num_blocks}));
  ASSIGN_OR_RETURN(Workspace workspace, Workspace::Make(config, WorkspaceShape(weights, options)));
  ASSIGN_OR_RETURN(ExpertCounters counters,
                   ExpertCounters::Make(ExpertLayersOf(config), CounterOptions(options)));

  ModelDescription description = Describe(checkpoint);
  description.weights_dtype = DominantFormat(loader);
  description.weights_bytes = arena.used();
  description.expert_layers = ExpertLayersOf(config);
  ASSIGN_OR_RETURN(description.fingerprint, fingerprint.get());
  TransformerParts parts{
      .weights = std::move(storage),
      .embedding = weights.embedding,
      .blocks = std::move(weights.blocks),
      .head = OutputHead(weights.final_norm, std::move(weights.head)),
      .kv_cache = std::move(kv_cache),
      .workspace = std::move(workspace),
      .counters = std::move(counters),
      .batch = StepBatch({.head_dim = config.head_dim, .rope_theta = config.rope_theta}),
      .pool = std::move(pool)};
  return std::make_unique<Transformer>(std::move(description), capacity, std::move(parts));
}

}  // namespace peerage::nn
