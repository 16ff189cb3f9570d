#pragma once

#include <cstdint>

#include "model/config/model_config.h"

namespace peerage {

struct ParameterCount {
  uint64_t total = 0;   // elements of the canonical tensors
  uint64_t active = 0;  // total less the experts that one token does not select; embeddings whole
};

ParameterCount CountParameters(const ModelConfig& config);

// Experts of one part that one token can meet at most: an expert that two heads pick is one.
// Precondition: the part has experts (`peer` or `pkm`).
int64_t SelectedExperts(const ProductKeyConfig& config);

}  // namespace peerage
