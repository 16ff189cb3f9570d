#include "client/commands/hidden_options.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_split.h"
#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "client/commands/output_file.h"

namespace peerage::client {
namespace {

// Adds "3,0,7" to a field, in ascending order.
absl::Status AddNumbers(absl::string_view option, const std::string& list,
                        google::protobuf::RepeatedField<uint32_t>& field) {
  for (const absl::string_view text : absl::StrSplit(list, ',')) {
    ASSIGN_OR_RETURN(const uint32_t number, ParseNumber<uint32_t>(option, text));
    field.Add(number);
  }
  std::sort(field.begin(), field.end());
  return absl::OkStatus();
}

}  // namespace

HiddenOptions::HiddenOptions(CLI::App& app) {
  app.add_option("--hidden-states", layers_,
                 "Report tokens behind these layers: 0 is the embedding, one more than the model "
                 "has comes after the final norm; needs --npy or --json")
      ->type_name("LAYER[,LAYER]");
  app.add_option("--positions", positions_,
                 "Of which tokens: prompt, generated (continuations, too), all, or numbers from 0")
      ->type_name("WORD|N[,N]")
      ->default_str("all");
  app.add_option("--npy", npy_, "Write hidden states: fields part, layer, position, values")
      ->type_name("FILE");
}

absl::Status HiddenOptions::Check(bool json) const {
  if (!given() && (positions_.has_value() || npy_.has_value())) {
    return absl::InvalidArgumentError("--positions and --npy need --hidden-states");
  }
  if (given() && !npy_.has_value() && !json) {
    return absl::InvalidArgumentError("--hidden-states needs --npy or --json");
  }
  return absl::OkStatus();
}

absl::Status HiddenOptions::Fill(v1::HiddenStatesRequest& request) const {
  RETURN_IF_ERROR(AddNumbers("--hidden-states", *layers_, *request.mutable_layers()));
  const std::string positions = positions_.value_or("all");
  const bool all = positions == "all";
  request.set_prompt(all || positions == "prompt");
  request.set_generated(all || positions == "generated");
  if (request.prompt() || request.generated()) return absl::OkStatus();
  return AddNumbers("--positions", positions, *request.mutable_positions());
}

absl::Status HiddenOptions::Write(
    const google::protobuf::RepeatedPtrField<v1::HiddenStates>& states) const {
  if (!npy_.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string bytes, HiddenStatesNpy(states));
  return WriteFile(*npy_, bytes);
}

}  // namespace peerage::client
