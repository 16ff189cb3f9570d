#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

// One of the dense models that a mixture is made of.
struct SourceModel {
  std::string name;
  std::string path;
  std::shared_ptr<const Checkpoint> checkpoint;
  std::string fingerprint;  // SHA-256 of its weight files, hex; empty until it is known
};

// Opens the base and the experts, in this order, and makes sure that they can be mixed: all dense,
// and of one shape and tokenizer. Reads no weights.
absl::StatusOr<std::vector<SourceModel>> OpenSourceModels(const UpcycleOptions& options);

// Reads the weight files once, for the fingerprints. Models with the same weights, as the
// mixture would store them, are an error, unless the options allow them.
absl::StatusOr<std::vector<SourceModel>> WithFingerprints(std::vector<SourceModel> models,
                                                          const UpcycleOptions& options);

}  // namespace peerage::transform
