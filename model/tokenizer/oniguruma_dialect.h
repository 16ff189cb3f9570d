#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Rewrites a regular expression in Oniguruma's dialect, which Hugging Face tokenizers uses, to one
// that PCRE2 (UTF, UCP, MULTILINE) matches in the same way. UNIMPLEMENTED names the construct that
// is not known to mean the same: \w, \b, \h, class set operations, script properties, named groups
// and whatever else is not on the short list of what tokenizers' patterns use.
absl::StatusOr<std::string> TranslateOniguruma(absl::string_view expression);

}  // namespace peerage
