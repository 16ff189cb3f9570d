// Any text as a file of tokens: it is refused, without a word of it in the error, or knows nobody
// by a text that is a line of it.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/identity/bearer_tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokens = peerage::BearerTokens::Parse(text);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!tokens.ok() && line.size() > 64 && absl::StrContains(tokens.status().message(), line)) {
      __builtin_trap();
    }
    if (tokens.ok() &&
        tokens->Find(line, absl::UnixEpoch()).state != peerage::TokenState::kUnknown) {
      __builtin_trap();
    }
  }
  return 0;
}
