#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/transform/upcycle.h"

namespace peerage::transform {

// One of the dense models that a mixture is made of.
struct SourceModel {
  std::string name;
  std::string path;
  std::shared_ptr<const Checkpoint> checkpoint;
  std::string fingerprint;  // SHA-256 of its weight files, hex
};

// Opens the base and the experts, in this order, and makes sure that they can be mixed: all dense,
// and of one shape and tokenizer. Reads their files once, for the fingerprints.
absl::StatusOr<std::vector<SourceModel>> OpenSourceModels(const UpcycleOptions& options);

}  // namespace peerage::transform
