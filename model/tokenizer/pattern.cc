#include "model/tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/oniguruma_dialect.h"

namespace peerage {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;  // steps of one match; a text of 1 MB needs about 1e6
constexpr size_t kJitStackStart = 32 << 10;
constexpr size_t kJitStackLimit = 8 << 20;

std::string ErrorText(int code) {
  std::array<unsigned char, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

std::atomic<int64_t> made_memories = 0;

// What PCRE2 writes while it matches. Only a match's own ends are looked at, so that one place for
// them does for every pattern.
struct MatchMemory {
  MatchMemory()
      : match(pcre2_match_data_create(1, nullptr)),
        limits(pcre2_match_context_create(nullptr)),
        jit_stack(pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr)) {
    pcre2_set_match_limit(limits, kMatchLimit);
    pcre2_jit_stack_assign(limits, nullptr, jit_stack);
    ++made_memories;
  }
  ~MatchMemory() {
    pcre2_match_data_free(match);
    pcre2_match_context_free(limits);
    pcre2_jit_stack_free(jit_stack);
  }
  MatchMemory(const MatchMemory&) = delete;
  MatchMemory& operator=(const MatchMemory&) = delete;

  pcre2_match_data* const match;
  pcre2_match_context* const limits;
  pcre2_jit_stack* const jit_stack;
};

const MatchMemory& MemoryOfThread() {
  thread_local const MatchMemory memory;
  return memory;
}

}  // namespace

void Pattern::CodeDeleter::operator()(pcre2_code* code) const { pcre2_code_free(code); }

absl::StatusOr<Pattern> Pattern::CompilePcre2(absl::string_view expression, uint32_t options) {
  int error = 0;
  size_t offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    options | PCRE2_UTF, &error, &offset, nullptr);
  if (compiled == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern \"", expression, "\": ", ErrorText(error), " at byte ", offset));
  }
  // Where the machine has no just-in-time compiler, matching interprets.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return Pattern(compiled);
}

absl::StatusOr<Pattern> Pattern::Compile(absl::string_view expression) {
  ASSIGN_OR_RETURN(const std::string translated, TranslateOniguruma(expression));
  // In Oniguruma's dialect ^ and $ always mean the ends of lines.
  return CompilePcre2(translated, PCRE2_UCP | PCRE2_MULTILINE);
}

absl::StatusOr<Pattern> Pattern::Literal(absl::string_view text) {
  return CompilePcre2(text, PCRE2_LITERAL);
}

int64_t Pattern::memories_made() { return made_memories; }

absl::Status Pattern::ForEachMatch(absl::string_view text,
                                   absl::FunctionRef<bool(TextRange)> visit) const {
  const MatchMemory& memory = MemoryOfThread();
  size_t from = 0;
  size_t last_end = absl::string_view::npos;  // of the match before, if any
  while (from <= text.size()) {
    // The caller has validated the text; checking again at every match would be quadratic.
    const int result =
        pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                    PCRE2_NO_UTF_CHECK, memory.match, memory.limits);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the text cannot be split into words: ", ErrorText(result)));
    }
    const size_t* ends = pcre2_get_ovector_pointer(memory.match);
    const TextRange match = {ends[0], ends[1]};
    if (match.begin == match.end && match.end == last_end) {
      from += from < text.size() ? ReadUtf8(text.substr(from)).length : 1;
      continue;
    }
    if (!visit(match)) break;
    from = last_end = match.end;
  }
  return absl::OkStatus();
}

}  // namespace peerage
