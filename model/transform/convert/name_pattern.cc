#include "model/transform/convert/name_pattern.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error_text.h"

namespace peerage::transform {
namespace {

constexpr absl::string_view kPart = "*";
constexpr absl::string_view kAnything = "**";

bool IsWildcard(absl::string_view piece) { return piece == kPart || piece == kAnything; }

absl::Status BracesError() {
  return absl::InvalidArgumentError("braces hold two names or more, once: {q,k,v}");
}

// Texts and wildcards in turn.
std::vector<std::string> Split(absl::string_view pattern) {
  std::vector<std::string> pieces;
  while (!pattern.empty()) {
    size_t length = pattern.find('*');
    if (length == 0) length = absl::StartsWith(pattern, kAnything) ? 2 : 1;
    pieces.emplace_back(pattern.substr(0, length));
    pattern.remove_prefix(std::min(length, pattern.size()));
  }
  return pieces;
}

// "a.{q,k}.b" is "a.q.b" and "a.k.b".
absl::StatusOr<std::vector<std::string>> Alternatives(absl::string_view text) {
  const size_t open = text.find('{'), close = text.find('}');
  if (open == text.npos && close == text.npos) return std::vector<std::string>{std::string(text)};
  const bool paired = open < close && close != text.npos && text.find('{', open + 1) == text.npos &&
                      text.find('}', close + 1) == text.npos;
  std::vector<std::string> names;
  if (paired) {
    for (absl::string_view part : absl::StrSplit(text.substr(open + 1, close - open - 1), ',')) {
      part = absl::StripAsciiWhitespace(part);
      if (part.empty() || absl::StrContains(part, '*')) return BracesError();
      names.push_back(absl::StrCat(text.substr(0, open), part, text.substr(close + 1)));
    }
  }
  if (names.size() < 2) return BracesError();
  return names;
}

std::vector<std::string> Wildcards(const std::vector<std::string>& pieces) {
  std::vector<std::string> wildcards;
  std::copy_if(pieces.begin(), pieces.end(), std::back_inserter(wildcards), IsWildcard);
  return wildcards;
}

// Matches one name against a pattern's pieces. What has failed once is not tried again, so that no
// pattern takes more than pieces x characters^2 steps.
class Matcher {
 public:
  Matcher(const std::vector<std::string>& pieces, absl::string_view name)
      : pieces_(pieces), name_(name), failed_((pieces.size() + 1) * (name.size() + 1)) {}

  bool Match(size_t piece = 0, size_t at = 0) {
    const size_t state = piece * (name_.size() + 1) + at;
    if (failed_[state]) return false;
    if (MatchPiece(piece, at)) return true;
    failed_[state] = true;
    return false;
  }

  // What the wildcards stood for, in their order.
  std::vector<absl::string_view> taken() const { return {taken_.rbegin(), taken_.rend()}; }

 private:
  bool MatchPiece(size_t piece, size_t at) {
    if (piece == pieces_.size()) return at == name_.size();
    const std::string& text = pieces_[piece];
    if (!IsWildcard(text)) {
      return absl::StartsWith(name_.substr(at), text) && Match(piece + 1, at + text.size());
    }
    const size_t longest =
        text == kPart ? std::min(name_.find('.', at), name_.size()) : name_.size();
    for (size_t end = at + (text == kPart ? 1 : 0); end <= longest; ++end) {
      if (!Match(piece + 1, end)) continue;
      taken_.push_back(name_.substr(at, end - at));
      return true;
    }
    return false;
  }

  const std::vector<std::string>& pieces_;
  const absl::string_view name_;
  std::vector<bool> failed_;              // [piece][at]
  std::vector<absl::string_view> taken_;  // last wildcard first
};

}  // namespace

absl::StatusOr<NamePattern> NamePattern::Parse(absl::string_view line) {
  NamePattern pattern;
  pattern.goes_on_ = absl::StrContains(line, "=>");
  const std::vector<absl::string_view> sides = absl::StrSplit(line, pattern.goes_on_ ? "=>" : "->");
  if (sides.size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(line), " is not \"pattern -> replacement\""));
  }
  pattern.text_ = std::string(absl::StripAsciiWhitespace(line));
  pattern.from_ = Split(absl::StripAsciiWhitespace(sides[0]));
  const absl::StatusOr<std::vector<std::string>> names =
      Alternatives(absl::StripAsciiWhitespace(sides[1]));
  if (!names.ok()) return At(Quoted(line), names.status());
  if (pattern.goes_on_ && names->size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(line), ": braces need a ->"));
  }
  for (const std::string& name : *names) pattern.to_.push_back(Split(name));
  if (pattern.from_.empty() || pattern.to_.front().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(line), " has an empty side"));
  }
  if (Wildcards(pattern.from_) != Wildcards(pattern.to_.front())) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(line), ": the sides do not have the same wildcards in the same order"));
  }
  return pattern;
}

std::optional<std::vector<std::string>> NamePattern::Rename(absl::string_view name) const {
  Matcher matcher(from_, name);
  if (!matcher.Match()) return std::nullopt;
  const std::vector<absl::string_view> taken = matcher.taken();
  std::vector<std::string> names;
  for (const std::vector<std::string>& pieces : to_) {
    std::string& renamed = names.emplace_back();
    size_t wildcard = 0;
    for (const std::string& piece : pieces) {
      absl::StrAppend(&renamed, IsWildcard(piece) ? taken[wildcard++] : absl::string_view(piece));
    }
  }
  return names;
}

}  // namespace peerage::transform
