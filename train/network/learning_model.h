#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/config/model_config.h"
#include "model/experts/expert_usage.h"
#include "model/nn/plan/part.h"
#include "model/token.h"
#include "train/config/run_config.h"

namespace peerage::train {

// How a tensor is learnt.
struct TensorLearning {
  bool changes = false;  // else it is frozen
  double learning_rate = 0;
  double weight_decay = 0;
};

// Sequences of one length, one after the other.
struct TokenBatch {
  int sequences = 0;
  int length = 0;  // tokens that are read; each sequence has one more, which only follows
  std::vector<TokenId> tokens = {};  // [sequences, length + 1]
};

// What a step found.
struct StepFigures {
  double loss = 0;          // mean negative log-probability of a token
  double balance_loss = 0;  // of mixtures: 1 is even; 0 without any
  double z_loss = 0;
  double gradient_norm = 0;  // before it was clipped
};

// How often each expert of a layer was picked since TakeUsage was called last.
struct ExpertCounts {
  std::vector<uint64_t> selections;  // [experts]
  std::vector<double> scores;        // [experts]: sums of the weights of its picks
  double squared_scores = 0;         // sum over all picks
};

// A model of the plan that is trained, with its optimiser: everything that LibTorch does, behind
// types of the standard library. Errors of LibTorch come back as INTERNAL.
//
// Threads: one at a time; it computes with as many as SetThreads says.
class LearningModel {
 public:
  struct Options {
    OptimizerSection optimizer = {};
    ComputeType compute = ComputeType::kF32;
  };
  // `learning`: of every tensor of the plan, in its order. RESOURCE_EXHAUSTED: there is no memory
  // for the model.
  static absl::StatusOr<std::unique_ptr<LearningModel>> Make(
      const ModelConfig& config, const std::vector<TensorLearning>& learning,
      const Options& options);
  ~LearningModel();

  // Of the whole process.
  static void SetThreads(int threads);

  const std::vector<nn::PlannedTensor>& tensors() const { return tensors_; }
  const std::vector<ExpertLayer>& expert_layers() const { return expert_layers_; }

  // A tensor's values, in row-major order. They may be written before the first step, and read at
  // any time.
  absl::Span<float> Values(const std::string& tensor);
  // Empty: none, or that of a table of which only picked rows change.
  absl::Span<const float> Gradient(const std::string& tensor) const;

  // Adds the gradients of a batch, one of `parts` of a step, and what it found to the step's
  // figures. After the last part, Update.
  absl::Status Learn(const TokenBatch& batch, int parts);
  // Clips the gradients and changes the weights: learning rates times `factor`. A loss or gradient
  // that is not a number is an error, and leaves the weights alone.
  absl::StatusOr<StepFigures> Update(double factor);

  // The log-probability of every token but the first of each sequence, [sequences, length], with
  // the running statistics of batch norms.
  absl::StatusOr<std::vector<float>> LogProbabilities(const TokenBatch& batch);

  std::vector<ExpertCounts> TakeUsage();  // [expert layers]

  // What a run that goes on needs: of every tensor that changes its values, and of every one that
  // has gradients its two moments ("first.NAME", "second.NAME").
  struct StateTensor {
    std::string name;
    std::vector<int64_t> shape;
    absl::Span<float> values;
  };
  std::vector<StateTensor> State();
  int64_t steps() const;
  void set_steps(int64_t steps);

 private:
  struct Torch;

  LearningModel(const ModelConfig& config, const std::vector<TensorLearning>& learning,
                const Options& options);

  std::vector<nn::PlannedTensor> tensors_;
  std::vector<ExpertLayer> expert_layers_;
  std::unique_ptr<Torch> torch_;
};

}  // namespace peerage::train
