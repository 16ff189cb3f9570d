#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "train/network/learning_model.h"

namespace peerage::train {

// Checkpoints of a run: a .safetensors file for each in OUT/checkpoints, which has its name only
// when it is complete. Beside the tensors of LearningModel::State a tensor "run" holds the bytes of
// a JSON value: the step, and what else the run must have the same when it goes on.

// The newest checkpoint of a run; none when it has none.
absl::StatusOr<std::optional<std::string>> NewestState(const std::string& out);

// Writes the state after so many steps, and removes all checkpoints but the newest two.
absl::Status WriteState(const std::string& out, LearningModel& model,
                        const nlohmann::ordered_json& run);

// The JSON value of a checkpoint.
absl::StatusOr<nlohmann::ordered_json> ReadStateRun(const std::string& path);

// Gives the model the state. A tensor that is missing, too many or of another shape is an error.
absl::Status ReadState(const std::string& path, LearningModel& model);

// Removes all checkpoints.
void RemoveStates(const std::string& out);

}  // namespace peerage::train
