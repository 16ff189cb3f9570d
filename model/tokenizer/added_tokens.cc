#include "model/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/utf8.h"

namespace peerage {
namespace {

bool IsWhiteSpace(char32_t c) {  // the Unicode property White_Space
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// UTS 18's word characters: Alphabetic (of which the circled letters are symbols), marks, decimal
// digits, connectors and joiners.
bool IsWordCharacter(absl::string_view character) {
  static const Pattern* const kWord = new Pattern(
      *Pattern::Compile("[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\u200C\u200D\u24B6-\u24E9"
                        "\U0001F130-\U0001F149\U0001F150-\U0001F169\U0001F170-\U0001F189]"));
  bool found = false;
  const absl::Status status = kWord->ForEachMatch(character, [&found](TextRange) {
    found = true;
    return false;
  });
  return status.ok() && found;
}

absl::string_view FirstCharacter(absl::string_view text) {
  return text.substr(0, ReadUtf8(text).length);
}

absl::string_view LastCharacter(absl::string_view text) {
  size_t begin = text.size() - 1;
  while ((text[begin] & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

size_t WhiteSpaceAtStart(absl::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Prefix next = ReadUtf8(text.substr(length));
    if (!IsWhiteSpace(next.code_point)) break;
    length += next.length;
  }
  return length;
}

size_t WhiteSpaceAtEnd(absl::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const absl::string_view last = LastCharacter(text.substr(0, text.size() - length));
    if (!IsWhiteSpace(ReadUtf8(last).code_point)) break;
    length += last.size();
  }
  return length;
}

uint64_t ChildKey(int node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    Insert(tokens_[i].normalized ? normalized_ : raw_, tokens_[i].content, static_cast<int>(i));
  }
}

void AddedTokens::Insert(Trie& trie, absl::string_view content, int token) {
  trie.first_bytes.set(static_cast<uint8_t>(content[0]));
  int node = 0;
  for (const char byte : content) {
    const int next = static_cast<int>(trie.token_of_node.size());
    const auto [child, inserted] = trie.children.try_emplace(ChildKey(node, byte), next);
    if (inserted) trie.token_of_node.push_back(-1);
    node = child->second;
  }
  trie.token_of_node[node] = token;
}

int AddedTokens::LongestAt(const Trie& trie, absl::string_view text) {
  if (!trie.first_bytes.test(static_cast<uint8_t>(text[0]))) return -1;
  int longest = -1;
  int node = 0;
  for (const char byte : text) {
    const auto child = trie.children.find(ChildKey(node, byte));
    if (child == trie.children.end()) break;
    node = child->second;
    if (trie.token_of_node[node] >= 0) longest = trie.token_of_node[node];
  }
  return longest;
}

bool AddedTokens::StandsAlone(absl::string_view text, TextRange match) const {
  const bool word_before =
      match.begin > 0 && IsWordCharacter(LastCharacter(text.substr(0, match.begin)));
  const bool word_after =
      match.end < text.size() && IsWordCharacter(FirstCharacter(text.substr(match.end)));
  return !word_before && !word_after;
}

bool AddedTokens::SplitBy(const Trie& trie, absl::string_view text, SpecialTokens special,
                          Visit visit) const {
  size_t done = 0;  // what lies before was told
  for (size_t at = 0; at < text.size();) {
    const int found = LongestAt(trie, text.substr(at));
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[found];
    TextRange match = {at, at + token.content.size()};
    at = match.end;  // even when it is passed over: no other token is looked for inside it
    if (token.special && special == SpecialTokens::kAsText) continue;
    if (token.single_word && !StandsAlone(text, match)) continue;

    match.begin = std::max(match.begin, done);
    if (token.lstrip) match.begin -= WhiteSpaceAtEnd(text.substr(done, match.begin - done));
    if (token.rstrip) match.end += WhiteSpaceAtStart(text.substr(match.end));
    if (done < match.begin && !visit({text.substr(done, match.begin - done), {}})) return false;
    if (!visit({text.substr(match.begin, match.end - match.begin), token.id})) return false;
    done = match.end;
  }
  return done == text.size() || visit({text.substr(done), {}});
}

void AddedTokens::ForEachSegment(absl::string_view text, SpecialTokens special, Visit visit) const {
  const bool one_pass = normalized_.first_bytes.none();
  SplitBy(raw_, text, special, [&](const TextSegment& segment) {
    if (one_pass || segment.token.has_value()) return visit(segment);
    return SplitBy(normalized_, segment.text, special, visit);
  });
}

}  // namespace peerage
