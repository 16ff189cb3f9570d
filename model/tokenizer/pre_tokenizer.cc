#include "model/tokenizer/pre_tokenizer.h"

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

using Visit = absl::FunctionRef<bool(absl::string_view)>;
using Steps = absl::Span<const PreTokenizerStep>;

struct Part {
  TextRange range;
  bool is_match;
};

// Whether a part of a text joins the one before it.
bool Joins(SplitBehavior behavior, bool before_is_match, bool is_match) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved:
      return false;
    case SplitBehavior::kMergedWithPrevious:
      return is_match && !before_is_match;
    case SplitBehavior::kMergedWithNext:
      return before_is_match && !is_match;
    case SplitBehavior::kContiguous:
      return before_is_match == is_match;
  }
  return false;
}

// Takes in a text as alternating matches and what lies between them, and lets go of its pieces.
class Pieces {
 public:
  // `visit` returns false when it wants no more.
  Pieces(const PreTokenizerStep& step, absl::string_view text, Visit visit)
      : step_(step), text_(text), visit_(visit) {}

  // False when no more is wanted.
  bool AddMatch(TextRange match) {
    if (end_ < match.begin && !Add({{end_, match.begin}, step_.invert})) return false;
    end_ = match.end;
    return Add({match, !step_.invert});
  }

  bool Finish() {
    if (end_ < text_.size() && !Add({{end_, text_.size()}, step_.invert})) return false;
    return LetGo();
  }

 private:
  bool Add(Part part) {
    if (step_.behavior == SplitBehavior::kRemoved && part.is_match) return true;
    const bool joins = last_.has_value() && Joins(step_.behavior, last_->is_match, part.is_match);
    if (joins) {
      *last_ = {{last_->range.begin, part.range.end}, part.is_match};
      return true;
    }
    if (!LetGo()) return false;
    last_ = part;
    return true;
  }

  bool LetGo() {
    if (!last_.has_value()) return true;
    const auto [begin, end] = last_->range;
    last_.reset();
    return begin == end || visit_(text_.substr(begin, end - begin));
  }

  const PreTokenizerStep& step_;
  const absl::string_view text_;
  const Visit visit_;
  std::optional<Part> last_;  // the next may still join it
  size_t end_ = 0;            // of the last match
};

// True when all steps were taken; false when no more is wanted.
absl::StatusOr<bool> TakeSteps(Steps steps, absl::string_view text, Visit visit);

absl::StatusOr<bool> SplitByPattern(Steps steps, absl::string_view text, Visit visit) {
  absl::Status status;
  const auto take_further_steps = [&](absl::string_view piece) {
    const absl::StatusOr<bool> goes_on = TakeSteps(steps.subspan(1), piece, visit);
    status = goes_on.status();
    return goes_on.ok() && *goes_on;
  };
  Pieces pieces(steps[0], text, take_further_steps);
  bool goes_on = true;
  RETURN_IF_ERROR(steps[0].pattern->ForEachMatch(
      text, [&](TextRange match) { return goes_on = pieces.AddMatch(match); }));
  goes_on = goes_on && pieces.Finish();
  RETURN_IF_ERROR(status);
  return goes_on;
}

absl::StatusOr<bool> TakeSteps(Steps steps, absl::string_view text, Visit visit) {
  if (steps.empty()) return visit(text);
  std::string prefixed;
  if (steps[0].add_prefix_space && !absl::StartsWith(text, " ")) {
    prefixed = absl::StrCat(" ", text);
    text = prefixed;
  }
  if (steps[0].pattern == nullptr) return TakeSteps(steps.subspan(1), text, visit);
  return SplitByPattern(steps, text, visit);
}

// A pattern of our own always compiles.
std::shared_ptr<const Pattern> Compiled(absl::string_view expression) {
  return std::make_shared<const Pattern>(*Pattern::Compile(expression));
}

}  // namespace

absl::Status PreTokenizer::ForEachWord(absl::string_view text,
                                       absl::FunctionRef<bool(absl::string_view)> visit) const {
  if (text.empty()) return absl::OkStatus();
  return TakeSteps(steps_, text, visit).status();
}

PreTokenizerStep ByteLevelStep(bool add_prefix_space, bool use_regex) {
  PreTokenizerStep step;
  step.add_prefix_space = add_prefix_space;
  if (use_regex) {
    step.pattern =
        Compiled(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  }
  return step;
}

PreTokenizerStep DigitsStep(bool individual) {
  return {.pattern = Compiled(R"(\p{N})"),
          .behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous};
}

}  // namespace peerage
