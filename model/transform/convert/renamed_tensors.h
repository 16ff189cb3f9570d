#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/stored_tensor.h"
#include "model/config/model_config.h"
#include "model/transform/convert/name_mapping.h"

namespace peerage::transform {

// A tensor under its new name: a stored one, or some rows of it.
struct RenamedTensor {
  std::string source;  // the stored tensor's name
  StoredTensor tensor;
};

// A tensor that is another one under a second name.
struct TiedTensor {
  std::string name;
  std::string written;  // the name of the one that is written
};

// What is to be written, by new name, and what matched nothing.
struct RenamedTensors {
  std::map<std::string, RenamedTensor> tensors;
  std::vector<std::string> unused_patterns;  // in the order of their file
  std::vector<std::string> unmatched;        // stored tensors; in the order of their names
  std::vector<TiedTensor> tied;              // not written; in the order of the file
};

struct Renaming {
  std::optional<NameMapping> names;     // absent: each tensor keeps its own
  bool drop_unmatched = false;          // leave out what no pattern matches
  const ModelConfig* config = nullptr;  // of the new model, where it is known
};

// Gives the tensors their new names. One that several names share is divided by its rows, as many
// for each as the config's model has there: it takes a config that has tensors of these names, and
// the rows must add up. Two tensors of one new name, or what safetensors files have no word for,
// are errors, too.
absl::StatusOr<RenamedTensors> RenameTensors(const std::vector<StoredTensor>& stored,
                                             const Renaming& renaming);

}  // namespace peerage::transform
