#pragma once

#include "absl/status/status.h"
#include "train/network/learning_model.h"
#include "train/training/source_model.h"

namespace peerage::train {

// Writes the trained model as a directory that the server loads: all at once, or nothing. A weight
// that the dtype cannot hold is an error that names the tensor.
absl::Status WriteModel(const SourceModel& source, const RunSection& run, LearningModel& model);

}  // namespace peerage::train
