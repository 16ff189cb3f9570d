#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/hidden_states.h"
#include "server/rpc/request/field_errors.h"

namespace peerage {

// What a request asks of hidden states; `path` leads to the message, for errors.

// What can be said before texts are tokens: layers and positions are there, ascending, and layers
// are those of a model of so many.
void CheckHiddenStates(const v1::HiddenStatesRequest& request, uint32_t num_layers,
                       absl::string_view path, FieldErrors& errors);

// The choice. The prompt or context has `prompt_tokens`, and of it and what comes behind it so many
// `computed_tokens` are computed at most: INVALID_ARGUMENT for a position that is not.
absl::StatusOr<HiddenStatesChoice> ConvertHiddenStates(const v1::HiddenStatesRequest& request,
                                                       size_t prompt_tokens, size_t computed_tokens,
                                                       absl::string_view path);

}  // namespace peerage
