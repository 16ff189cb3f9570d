#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/commands/options.h"
#include "client/message_json.h"
#include "client/peerage_client.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// One line of `peerage score --file`.
struct ScoreItem {
  size_t line = 0;
  std::optional<Json> id;          // what the user calls it
  std::vector<std::string> texts;  // of the continuations; empty for one given by ids
  v1::ScoreRequest request;
};

// A line is a text, scored after nothing. An object of JSONL has "text" or "ids" for such a one, or
// "context" and "continuations", each a text or a list of ids; and it may have an "id".
// INVALID_ARGUMENT for anything else.
absl::StatusOr<std::vector<ScoreItem>> ReadScoreItems(const FileOptions& file,
                                                      const PromptOptions& context);

struct ScoreFileOutput {
  bool json = false;
  bool tokens = false;  // with JSON: each token, too
};

// Scores them over one stream and prints a table, or a line of JSONL for each in their order and
// one of all together. Those that fail are said on standard error. Returns the exit code.
absl::StatusOr<int> ScoreFile(Client& client, const std::vector<ScoreItem>& items,
                              ScoreFileOutput output);

}  // namespace peerage::client
