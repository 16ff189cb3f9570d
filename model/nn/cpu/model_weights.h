#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/linear.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/cpu/block.h"
#include "model/nn/cpu/output_head.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/load_options.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cpu {

inline WeightPlacer::Formats FormatsOf(const LoadOptions& options) {
  return {.weights = options.weights_dtype, .experts = options.expert_dtype};
}

// The weights of a model, in the order a token meets them. They lie in an arena.
struct Weights {
  kernels::PackedMatrix embedding;
  std::vector<Block> blocks;
  OutputHead head;

  static Weights Place(const ModelPlan& plan, WeightPlacer& placer);

  // The most that one thread needs for any layer's experts.
  size_t ExpertScratchBytes() const;
  // Tells each linear layer what a step reads after it.
  void Link();
};

// Weights that were read, with the memory that they lie in, for any number of passes.
class ModelWeights final : public SharedWeights {
 public:
  // Errors name the tensor, or say what does not fit.
  static absl::StatusOr<std::shared_ptr<const ModelWeights>> Read(const ModelPlan& plan,
                                                                  const Checkpoint& checkpoint,
                                                                  const LoadOptions& options,
                                                                  kernels::ThreadPool& pool);

  const Weights& weights() const { return *weights_; }
  uint64_t bytes() const { return bytes_; }
  const std::string& dtype() const { return dtype_; }  // that most bytes of the projections have

 private:
  Storage storage_;
  std::optional<Weights> weights_;
  uint64_t bytes_ = 0;
  std::string dtype_;
};

}  // namespace peerage::nn::cpu
