#include "tests/support/needle_models.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/statusor.h"
#include "model/nn/load_model.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/mixture_models.h"
#include "tests/support/odd_models.h"

namespace peerage {
namespace {

constexpr uint32_t kWeightsSeed = 14;

struct Formats {
  const char* name;
  nn::WeightsDtype weights;
  nn::ExpertDtype experts;
};

constexpr Formats kFormats[] = {
    {"F32", nn::WeightsDtype::kF32, nn::ExpertDtype::kF32},
    {"BF16", nn::WeightsDtype::kBF16, nn::ExpertDtype::kBF16},
    {"Q8", nn::WeightsDtype::kQ8_0, nn::ExpertDtype::kInt8},
    {"Q4", nn::WeightsDtype::kQ4_1, nn::ExpertDtype::kInt4},
};

std::vector<NamedModel> Configs() {
  // Blocks of 32 weights need rows of as many; the odd models are for the other formats.
  std::vector<NamedModel> configs = {
      {"Small", SmallConfig()},
      {"SmallMixture", MixtureModel(TopKAttention(SoftAttention(4, MixtureKv::kExpert), 2, true),
                                    MixtureFfnPart(6, 2, true))},
      {"SmallSoftMixture",
       MixtureModel(SoftAttention(3, MixtureKv::kShared), MixtureFfnPart(4, 1, false))}};
  ModelConfig peer = SmallConfig();
  peer.layers[0].ffn = {PeerConfig{.keys = OddKeys(16, 4, 8, 16)}};
  peer.layers[1].ffn = {DenseFfnConfig{64},
                        PeerConfig{.keys = OddKeys(32, 2, 16, 16), .glu = true}};
  configs.push_back({"SmallPeer", peer});
  // Wide enough for kernels that take several tiles, vectors and groups at a time.
  ModelConfig wide = SmallConfig();
  wide.vocab_size = 601;
  wide.hidden_size = 224;
  wide.head_dim = 56;
  wide.layers[0].ffn = {DenseFfnConfig{416}};
  wide.layers[1].ffn = {PeerConfig{.keys = OddKeys(48, 3, 20, 64)}, DenseFfnConfig{96}};
  configs.push_back({"Wide", wide});
  wide.layers[0] = {.ffn = {MixtureFfnConfig{.intermediate_size = 160,
                                             .mixture = {.num_experts = 4, .top_k = 2}}},
                    .attention = TopKAttention(SoftAttention(3, MixtureKv::kExpert), 2, false)};
  configs.push_back({"WideMixture", wide});
  for (NamedModel& odd : OddModels()) configs.push_back({"Odd" + odd.name, odd.config});
  return configs;
}

template <typename T>
T OrDie(absl::StatusOr<T> result, const std::string& what) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s: %s\n", what.c_str(), result.status().ToString().c_str());
  std::abort();
}

NeedleModel Make(const std::string& name, std::shared_ptr<const Checkpoint> checkpoint,
                 const Formats& formats) {
  const auto needs = nn::PlanMemory(
      *checkpoint, {.weights_dtype = formats.weights, .expert_dtype = formats.experts});
  return {.name = name + formats.name,
          .checkpoint = std::move(checkpoint),
          .weights = formats.weights,
          .experts = formats.experts,
          .block_bytes = OrDie(needs, name).kv_block_bytes};
}

std::vector<NeedleModel> MakeModels() {
  std::vector<NeedleModel> models;
  for (const NamedModel& named : Configs()) {
    const auto checkpoint = std::make_shared<const MemoryCheckpoint>(named.config, kWeightsSeed);
    for (const Formats& formats : kFormats) models.push_back(Make(named.name, checkpoint, formats));
  }
  for (const char* stored : {"peer_small", "mixture_bam_kv_experts", "mixture_moepp", "mixtral",
                             "layout_meta_memory", "llama_gguf_mixed/model.gguf"}) {
    models.push_back(StoredNeedleModel(std::string("tests/golden/models/") + stored));
  }
  return models;
}

}  // namespace

const std::vector<NeedleModel>& NeedleModels() {
  static const auto* const models = new std::vector<NeedleModel>(MakeModels());
  return *models;
}

NeedleModel StoredNeedleModel(const std::string& path) {
  return Make(path, OrDie(OpenCheckpoint(path), path),
              {"", nn::WeightsDtype::kAuto, nn::ExpertDtype::kAuto});
}

std::vector<std::unique_ptr<LanguageModel>> Load(const NeedleModel& model,
                                                 const EngineShape& shape) {
  nn::LoadOptions options{.weights_dtype = model.weights,
                          .expert_dtype = model.experts,
                          .threads = shape.threads,
                          .num_slots = shape.max_sequences,
                          .max_step_tokens = shape.max_batch_tokens};
  options.kv_cache_bytes = static_cast<int64_t>(model.block_bytes) * shape.kv_blocks;
  nn::ModelFamily family(model.checkpoint.get(), options);
  std::vector<std::unique_ptr<LanguageModel>> models;
  for (int i = 0; i < shape.workers; ++i) {
    models.push_back(OrDie(family.Load(shape.threads), model.name));
  }
  return models;
}

}  // namespace peerage
