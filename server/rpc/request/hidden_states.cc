#include "server/rpc/request/hidden_states.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

std::string Entry(absl::string_view path, absl::string_view field, int i) {
  return absl::StrCat(path, ".", field, "[", i, "]");
}

void CheckAscending(const google::protobuf::RepeatedField<uint32_t>& numbers,
                    absl::string_view path, absl::string_view field, FieldErrors& errors) {
  for (int i = 1; i < numbers.size() && !errors.full(); ++i) {
    if (numbers[i - 1] < numbers[i]) continue;
    errors.Add(Entry(path, field, i), "must be above the one before it");
  }
}

}  // namespace

void CheckHiddenStates(const v1::HiddenStatesRequest& request, uint32_t num_layers,
                       absl::string_view path, FieldErrors& errors) {
  if (request.layers().empty()) {
    errors.Add(absl::StrCat(path, ".layers"), "must have at least one layer");
  }
  CheckAscending(request.layers(), path, "layers", errors);
  for (int i = 0; i < request.layers_size() && !errors.full(); ++i) {
    if (request.layers(i) <= num_layers + 1) continue;
    errors.Add(Entry(path, "layers", i),
               absl::StrCat("must be at most ", num_layers + 1, ", which is after the final norm"));
  }
  if (request.positions().empty() && !request.prompt() && !request.generated()) {
    errors.Add(absl::StrCat(path, ".positions"),
               "must have a position, unless prompt or generated is set");
  }
  CheckAscending(request.positions(), path, "positions", errors);
}

absl::StatusOr<HiddenStatesChoice> ConvertHiddenStates(const v1::HiddenStatesRequest& request,
                                                       size_t prompt_tokens, size_t computed_tokens,
                                                       absl::string_view path) {
  for (int i = 0; i < request.positions_size(); ++i) {
    if (request.positions(i) < computed_tokens) continue;
    return FieldError(Entry(path, "positions", i), absl::StrCat("must be below ", computed_tokens,
                                                                ": no later token is computed"));
  }
  HiddenStatesChoice choice;
  choice.layers.assign(request.layers().begin(), request.layers().end());
  choice.positions.assign(request.positions().begin(), request.positions().end());
  if (request.prompt()) choice.all_before = static_cast<uint32_t>(prompt_tokens);
  if (request.generated()) choice.all_from = static_cast<uint32_t>(prompt_tokens);
  return choice;
}

}  // namespace peerage
