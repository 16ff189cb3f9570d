#pragma once

#include "absl/status/status.h"
#include "model/checkpoint/layout/tensor_binding.h"
#include "model/checkpoint/layout/tensor_reading.h"

namespace peerage {

// A model that says `tie_word_embeddings` has no head of its own: one that is stored all the same
// (many writers do) must hold the embedding's values, whatever its dtype. Reads both, a few MiB at
// a time. An error names the head and the first row that differs.
absl::Status CheckTiedHead(const WeightFiles& files, const TiedHead& tied);

}  // namespace peerage
