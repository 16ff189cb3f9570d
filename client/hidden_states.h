#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// The bytes of a NumPy file of one structured array, an entry a row of the answer: `part` (int32,
// the candidate or continuation, -1 for the prompt or context), `layer` and `position` (uint32),
// `values` (float32 [hidden_size]). The prompt comes first, then the parts in order, each by layer
// and then by position. DATA_LOSS when values do not fit what is said of them.
absl::StatusOr<std::string> HiddenStatesNpy(
    const google::protobuf::RepeatedPtrField<v1::HiddenStates>& states);

}  // namespace peerage::client
