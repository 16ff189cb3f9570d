#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// The flag that names a file of what is asked of the model's routers: a v1.ExpertControl in JSON
// (the form that protobuf defines), in which kinds of layers may also be the words of --kind.
class ExpertControlOption {
 public:
  explicit ExpertControlOption(CLI::App& app);

  // Nothing when the flag was not given. INVALID_ARGUMENT for a file that cannot be read or holds
  // anything else.
  absl::StatusOr<std::optional<v1::ExpertControl>> Read() const;

 private:
  std::optional<std::string> path_;
};

}  // namespace peerage::client
