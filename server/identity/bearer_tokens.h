#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace peerage {

enum class TokenState { kUnknown, kExpired, kValid };

struct FoundToken {
  TokenState state = TokenState::kUnknown;
  std::string name;  // whose it is, unless it is unknown
};

// The bearer tokens that a server knows, by their SHA-256: whoever reads the file cannot call with
// what it says. Threads: immutable.
class BearerTokens {
 public:
  // Reads `NAME DIGEST [EXPIRY]` from each line that is neither empty nor begins with #: 64 hex
  // digits, and a time of RFC 3339. A name may have several tokens, so that a new one is there
  // before the old one goes. Errors name the line and never repeat it: it may hold a secret by
  // mistake.
  static absl::StatusOr<BearerTokens> Parse(absl::string_view text);

  // Takes the same time whether and wherever the token is known.
  FoundToken Find(absl::string_view token, absl::Time now) const;

  size_t size() const { return records_.size(); }

 private:
  using Digest = std::array<uint8_t, 32>;

  struct Record {
    std::string name;
    Digest digest;
    absl::Time expiry = absl::InfiniteFuture();
  };

  static absl::StatusOr<Record> ParseLine(absl::string_view line);

  std::vector<Record> records_;
};

}  // namespace peerage
