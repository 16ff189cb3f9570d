#include "base/utf8.h"

#include <cstdint>

#include "absl/strings/string_view.h"

namespace peerage {
namespace {

// What table 3-7 allows after a first byte: the number of continuation bytes and the range of the
// first of them, which alone excludes overlong forms, surrogates and what lies above U+10FFFF.
struct FirstByte {
  int continuations;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
};

FirstByte Classify(uint8_t byte) {
  if (byte < 0x80) return {0};
  if (byte >= 0xC2 && byte <= 0xDF) return {1};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {-1};
}

}  // namespace

Utf8Prefix ReadUtf8(absl::string_view text) {
  using Kind = Utf8Prefix::Kind;
  const uint8_t first = text[0];
  const FirstByte rule = Classify(first);
  if (rule.continuations < 0) return {Kind::kInvalid, 1};
  if (rule.continuations == 0) return {Kind::kCodePoint, 1, first};

  char32_t code_point = first & (0x3F >> rule.continuations);
  for (int i = 1; i <= rule.continuations; ++i) {
    if (i == static_cast<int>(text.size())) return {Kind::kUnfinished, i};
    const uint8_t byte = text[i];
    const uint8_t low = i == 1 ? rule.low : 0x80;
    const uint8_t high = i == 1 ? rule.high : 0xBF;
    if (byte < low || byte > high) return {Kind::kInvalid, i};
    code_point = code_point << 6 | (byte & 0x3F);
  }
  return {Kind::kCodePoint, rule.continuations + 1, code_point};
}

bool IsValidUtf8(absl::string_view text) { return !FindInvalidUtf8(text).has_value(); }

std::optional<size_t> FindInvalidUtf8(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Prefix prefix = ReadUtf8(text.substr(at));
    if (prefix.kind != Utf8Prefix::Kind::kCodePoint) return at;
    at += prefix.length;
  }
  return std::nullopt;
}

}  // namespace peerage
