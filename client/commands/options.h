#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// The flags that say what the model reads: a text (an argument, else standard input), as it is or
// as the user's turn of a chat, or token ids; and which model.
class PromptOptions {
 public:
  // `what` names the positional argument: "prompt", "context".
  PromptOptions(CLI::App& app, const std::string& what);

  // Reads standard input when no text is given or "-", without its last line break.
  // INVALID_ARGUMENT when that fails or is not UTF-8, or when text and ids were given.
  absl::StatusOr<v1::Prompt> Read() const;

  // The prompt of these, as the other flags want it.
  v1::Prompt OfText(const std::string& text) const;
  v1::Prompt OfIds(const std::vector<uint32_t>& ids) const;
  // A key of JSON: a text, or a list of token ids.
  absl::StatusOr<v1::Prompt> OfJson(const std::string& key, const nlohmann::json& value) const;

  // A conversation, as [{"role": "user", "content": "Hello"}].
  absl::StatusOr<v1::Prompt> OfMessages(const nlohmann::json& messages) const;

  // Whether a text or ids were given.
  bool given() const { return text_.has_value() || ids_.has_value(); }

  const std::string& model() const { return model_; }

 private:
  const std::string what_;
  std::optional<std::string> text_;
  std::optional<std::string> ids_;
  std::string model_;
  bool chat_ = false;
  std::optional<std::string> system_;
  std::optional<bool> add_bos_;
};

// The flags that say how a token is drawn, of all commands that generate.
class DrawOptions {
 public:
  void AddTo(CLI::App& app);

  // What was not given is left as it is.
  void Set(v1::Sampling& sampling) const;

 private:
  std::optional<float> temperature_, top_p_;
  std::optional<uint32_t> top_k_;
};

// Adds --model.
void AddModelOption(CLI::App& app, std::string& model);

// The flag that asks for the experts a call uses.
class TraceOption {
 public:
  explicit TraceOption(CLI::App& app);

  // Unspecified when the flag was not given.
  v1::ExpertTraceLevel level() const;

 private:
  std::string level_;
};

// The flags of a file of many texts.
class FileOptions {
 public:
  // `each` says what a line is, `keys` which keys a line of JSONL may have.
  FileOptions(CLI::App& app, const std::string& each, const std::string& keys);

  bool given() const { return path_.has_value(); }
  // Precondition: given.
  const std::string& path() const { return *path_; }
  const std::string& format() const { return format_; }

 private:
  std::optional<std::string> path_;
  std::string format_ = "auto";
};

// The flags of sampling and stopping. Those that were given become fields; the server checks their
// ranges and knows the defaults.
class GenerationOptions {
 public:
  explicit GenerationOptions(CLI::App& app);

  void Set(v1::GenerateRequest& request) const;

 private:
  void AddSampling(CLI::App& app);
  void AddStopping(CLI::App& app);

  DrawOptions draw_;
  std::optional<float> min_p_;
  std::optional<float> repetition_penalty_, frequency_penalty_, presence_penalty_;
  std::optional<uint32_t> max_tokens_, min_tokens_;
  std::optional<uint64_t> seed_;
  std::vector<std::string> stop_;
  std::optional<bool> ignore_eos_;
};

// Adds an option for a text that may be given again and again.
CLI::Option* AddTexts(CLI::App& app, const std::string& names, std::vector<std::string>& texts,
                      const std::string& description);

}  // namespace peerage::client
