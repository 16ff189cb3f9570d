#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"
#include "model/nn/attention_shape.h"
#include "model/nn/block.h"
#include "model/nn/weight_loader.h"

namespace peerage::nn {

// The weights of a model, layer by layer, in the arena of the loader that read them.
struct ModelWeights {
  kernels::PackedMatrix embedding;
  std::vector<Block> blocks;
  Norm final_norm;
  LinearLayer head;

  // The most that one thread needs for any layer's experts.
  size_t ExpertScratchBytes() const;
};

// Builds layers from tensors in the order a token meets them, so a file is read front to back.
class ModelBuilder {
 public:
  ModelBuilder(const ModelConfig& config, WeightLoader& loader)
      : config_(config), loader_(loader) {}

  absl::StatusOr<ModelWeights> Build();

 private:
  absl::StatusOr<Norm> MakeNorm(const std::string& name);
  absl::StatusOr<Block> MakeBlock(int index);
  absl::StatusOr<AnyAttention> MakeAttention(const AttentionConfig& config,
                                             const std::string& prefix);
  absl::StatusOr<Attention> MakeDenseAttention(const std::string& prefix);
  absl::StatusOr<Attention> MakeWideAttention(const AttentionConfig& config,
                                              const std::string& prefix);
  absl::StatusOr<MixtureRouter> MakeMixtureRouter(const MixtureConfig& config,
                                                  const std::string& prefix);
  absl::StatusOr<MixtureFfn> MakeMixtureFfn(const MixtureConfig& config, const std::string& prefix);
  absl::StatusOr<FeedForward> MakeFeedForward(const FfnConfig& ffn, const std::string& prefix);
  absl::StatusOr<DenseFfn> MakeDenseFfn(const std::string& prefix);
  absl::StatusOr<Peer> MakePeer(const ProductKeyConfig& config, const std::string& prefix);
  absl::StatusOr<ProductKeyMemory> MakeMemory(const ProductKeyConfig& config,
                                              const std::string& prefix);
  absl::StatusOr<ProductKeyRouter> MakeRouter(const ProductKeyConfig& config,
                                              const std::string& prefix);
  absl::Status MakeQuery(const ProductKeyConfig& config, const std::string& prefix,
                         ProductKeyRouter& router);

  const ModelConfig& config_;
  WeightLoader& loader_;
  int next_expert_layer_ = 0;  // layers are built in the order of ExpertLayersOf
};

}  // namespace peerage::nn
