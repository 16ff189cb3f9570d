#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;  // PCRE2's compiled pattern

namespace peerage {

// A stretch of a text in bytes: [begin, end).
struct TextRange {
  size_t begin;
  size_t end;
};

// A compiled regular expression over UTF-8 with Unicode properties.
//
// Threads: immutable; safe from many threads. Each thread that matches keeps working memory for all
// patterns until it ends, its stack of 8 MiB included, of which what a match needs is touched:
// making it costs more than matching a word.
class Pattern {
 public:
  // `expression` is in the dialect of Hugging Face tokenizers (Oniguruma). What Oniguruma and PCRE2
  // understand differently is either translated (\s is exactly White_Space) or refused by name:
  // UNIMPLEMENTED. A syntax error is INVALID_ARGUMENT.
  static absl::StatusOr<Pattern> Compile(absl::string_view expression);

  // Matches `text` as it stands. Precondition: `text` is not empty.
  static absl::StatusOr<Pattern> Literal(absl::string_view text);

  // Tells of every match from left to right, until `visit` returns false; an empty match never
  // touches the end of the one before it. `visit` may match other patterns.
  // INVALID_ARGUMENT when the search exceeds the limit on backtracking.
  // Precondition: `text` is valid UTF-8 and is looked at alone (look-around ends at its ends).
  absl::Status ForEachMatch(absl::string_view text, absl::FunctionRef<bool(TextRange)> visit) const;

  // How many threads' working memories were ever made, over all patterns.
  static int64_t memories_made();

 private:
  struct CodeDeleter {
    void operator()(pcre2_real_code_8* code) const;
  };

  explicit Pattern(pcre2_real_code_8* code) : code_(code) {}
  static absl::StatusOr<Pattern> CompilePcre2(absl::string_view expression, uint32_t options);

  std::unique_ptr<pcre2_real_code_8, CodeDeleter> code_;
};

}  // namespace peerage
