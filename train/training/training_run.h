#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "train/config/run_config.h"
#include "train/data/packed_text.h"
#include "train/data/sequence_order.h"
#include "train/network/learning_model.h"
#include "train/training/source_model.h"

namespace peerage::train {

// How well the model says a held-out file's text.
struct HeldOutFigures {
  std::string file;
  int64_t tokens = 0;
  double loss = 0;  // mean negative log-probability of a token
};

// One run: a model, its texts, and how far it is. What a step does depends on the config and the
// number of the step alone, so that a run that goes on from a checkpoint ends with the same bits.
class TrainingRun {
 public:
  // Opens everything that the config names. `resume`: goes on from the newest checkpoint in
  // run.out, which must be of the same config; else run.out must hold neither a checkpoint nor a
  // model.
  static absl::StatusOr<std::unique_ptr<TrainingRun>> Open(const RunConfig& config, bool resume);

  const RunConfig& config() const { return config_; }
  int64_t steps_done() const { return model_->steps(); }
  bool is_done() const { return steps_done() == config_.schedule.steps; }
  int64_t tokens_of_step() const;
  double learning_rate() const;  // of the next step, of tensors without a group

  absl::StatusOr<StepFigures> Step();

  // Asks `stopped` before every sequence, and is CANCELLED then.
  absl::StatusOr<std::vector<HeldOutFigures>> Evaluate(const std::function<bool()>& stopped = [] {
    return false;
  });
  absl::Status SaveState();
  // The model's directory; afterwards there are no checkpoints any more.
  absl::Status Finish();

  LearningModel& model() { return *model_; }
  // "123.4K tokens in 480 sequences of 256", of all texts.
  std::string TextsInWords() const;

 private:
  explicit TrainingRun(const RunConfig& config) : config_(config) {}

  absl::Status ReadTexts();
  absl::Status BuildModel();
  absl::Status Resume(const std::string& state);
  nlohmann::ordered_json StateJson() const;
  TokenBatch NextBatch();

  const RunConfig config_;
  SourceModel source_;
  std::string source_fingerprint_;  // of the model that the run began with
  std::string config_fingerprint_;  // of its config.json
  std::string texts_fingerprint_;   // of the tokens of data.source
  std::unique_ptr<LearningModel> model_;
  std::vector<PackedText> texts_;     // [data.source]
  std::vector<PackedText> held_out_;  // [data.held_out]
  std::unique_ptr<SequenceOrder> order_;
};

}  // namespace peerage::train
