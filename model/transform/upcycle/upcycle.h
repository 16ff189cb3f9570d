#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

struct UpcycleReport {
  std::vector<std::string> expert_names;  // none of a model that stays dense
  size_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<std::string> warnings;
};

// Makes a mixture of dense models of one shape: FFN expert i is the FFN of model i, and everything
// that is not an expert's the uniform average of all (f64, rounded once). A single model stays
// dense and gets its PEER memories. Those begin with zero up vectors: they add nothing until they
// are trained. Random values depend on the seed, the tensor's name and the place in it alone.
//
// Writes a model directory with upcycle.json, the record of how it was made. Reads a few MiB of a
// tensor at a time. Options that do not fit, models of different shapes or tokenizers, and a
// directory that has a model's files are errors, found before any weights are read. An error leaves
// nothing behind (new_model_directory.h).
absl::StatusOr<UpcycleReport> Upcycle(const UpcycleOptions& options);

}  // namespace peerage::transform
