#include "server/identity/bearer_tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "server/identity/principal.h"

namespace peerage {

absl::StatusOr<BearerTokens> BearerTokens::Parse(absl::string_view text) {
  BearerTokens tokens;
  std::set<Digest> digests;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<Record> record = ParseLine(line);
    if (record.ok() && !digests.insert(record->digest).second) {
      record = absl::InvalidArgumentError("the digest is in the file already");
    }
    if (!record.ok()) return At(absl::StrCat("line ", number), record.status());
    tokens.records_.push_back(*std::move(record));
  }
  return tokens;
}

absl::StatusOr<BearerTokens::Record> BearerTokens::ParseLine(absl::string_view line) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (words.size() < 2 || words.size() > 3) {
    return absl::InvalidArgumentError("is not NAME DIGEST [EXPIRY]");
  }
  Record record{.name = std::string(words[0])};
  RETURN_IF_ERROR(CheckPrincipalName(record.name));
  const bool is_hex = std::all_of(words[1].begin(), words[1].end(),
                                  [](unsigned char c) { return absl::ascii_isxdigit(c); });
  if (words[1].size() != 2 * record.digest.size() || !is_hex) {
    return absl::InvalidArgumentError("the digest is not a SHA-256 of 64 hex digits");
  }
  const std::string bytes = absl::HexStringToBytes(words[1]);
  std::copy(bytes.begin(), bytes.end(), record.digest.begin());
  std::string ignored;  // it may quote the line
  if (words.size() == 3 &&
      !absl::ParseTime(absl::RFC3339_full, words[2], &record.expiry, &ignored)) {
    return absl::InvalidArgumentError("the expiry is not a time like 2030-12-31T00:00:00Z");
  }
  return record;
}

FoundToken BearerTokens::Find(absl::string_view token, absl::Time now) const {
  Digest digest;
  SHA256(reinterpret_cast<const uint8_t*>(token.data()), token.size(), digest.data());
  const Record* found = nullptr;
  for (const Record& record : records_) {
    if (CRYPTO_memcmp(record.digest.data(), digest.data(), digest.size()) == 0) found = &record;
  }
  if (found == nullptr) return {};
  return {now < found->expiry ? TokenState::kValid : TokenState::kExpired, found->name};
}

}  // namespace peerage
