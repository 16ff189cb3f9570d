#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/hidden_states.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// The flags that ask for hidden states, and name the file that they go to.
class HiddenOptions {
 public:
  explicit HiddenOptions(CLI::App& app);

  bool given() const { return layers_.has_value(); }

  // Asks for what was given. INVALID_ARGUMENT for lists that are none, and when nobody would see
  // the answer: it goes to --npy, or is in the answer that `json` prints.
  template <typename Request>
  absl::Status Set(bool json, Request& request) const {
    const absl::Status checked = Check(json);
    if (!checked.ok() || !given()) return checked;
    return Fill(*request.mutable_hidden_states());
  }

  // Writes --npy, where it was given.
  absl::Status Write(const google::protobuf::RepeatedPtrField<v1::HiddenStates>& states) const;

 private:
  absl::Status Check(bool json) const;
  absl::Status Fill(v1::HiddenStatesRequest& request) const;

  std::optional<std::string> layers_, positions_, npy_;
};

}  // namespace peerage::client
