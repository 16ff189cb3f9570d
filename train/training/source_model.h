#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/model_files.h"
#include "train/config/run_config.h"
#include "train/network/learning_model.h"

namespace peerage::train {

// The model that a run begins with.
struct SourceModel {
  ModelConfig config;
  std::string config_json;  // of the trained model, `model_type: "peerage"`
  std::vector<transform::TextFile> tokenizer_files;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Checkpoint> checkpoint;  // null: a new model
  uint64_t seed = 0;                       // of a new model
};

// Opens a model, or reads the config and the tokenizer of a new one. What cannot be trained, or
// could not be served afterwards, is refused.
absl::StatusOr<SourceModel> OpenSourceModel(const ModelSection& section);

// Gives every tensor its values. Of a new model: norms' scales and running variances one, shifts
// and running means zero, everything else normal with standard deviation 1/sqrt(last dimension),
// so that products with an input of unit variance have unit variance; what a layer adds to the
// residual stream is smaller by sqrt(2 * layers) (Radford et al. 2019). Values depend on the seed
// and the tensor's name alone.
absl::Status FillValues(const SourceModel& source, LearningModel& model);

}  // namespace peerage::train
