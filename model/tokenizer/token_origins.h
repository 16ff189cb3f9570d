#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/token.h"

namespace peerage {

// A place in a model's files that names a special token: "config.json", "the post-processor".
struct TokenMention {
  TokenId id;
  std::string place;
};

// Which tokens begin and end texts, and which of a model's files say so. The files need not agree.
struct TokenOrigins {
  std::vector<TokenMention> bos;  // the first counts
  std::vector<TokenMention> eos;  // all count: each of them ends a generation
  std::string add_bos;            // who says whether a text gets the BOS; empty: nobody

  std::optional<TokenId> bos_id() const;
  std::vector<TokenId> eos_ids() const;  // each once, in the order of their mentions

  // INVALID_ARGUMENT with the place of an id that is not below `vocab_size`.
  absl::Status Check(size_t vocab_size) const;
};

}  // namespace peerage
