#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// The flags that say what the model reads: a text (an argument, else standard input), as it is or
// as the user's turn of a chat, and which model.
class PromptOptions {
 public:
  // `what` names the positional argument: "prompt", "context".
  PromptOptions(CLI::App& app, const std::string& what);

  // Reads standard input when the text is missing or "-", without its last line break.
  // INVALID_ARGUMENT when that fails.
  absl::StatusOr<v1::Prompt> Read() const;

  const std::string& model() const { return model_; }

 private:
  std::optional<std::string> text_;
  std::string model_;
  bool chat_ = false;
  std::optional<std::string> system_;
  std::optional<bool> add_bos_;
};

// The flag that asks for the experts a call uses.
class TraceOption {
 public:
  explicit TraceOption(CLI::App& app);

  // Unspecified when the flag was not given.
  v1::ExpertTraceLevel level() const;

 private:
  std::string level_;
};

}  // namespace peerage::client
