#include "model/tokenizer/byte_alphabet.h"

#include <array>

#include "absl/strings/string_view.h"
#include "base/utf8.h"

namespace peerage {
namespace {

constexpr int kAlphabetEnd = 0x100 + 68;

constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

struct Alphabet {
  std::array<char32_t, 256> character_of_byte{};
  std::array<int16_t, kAlphabetEnd> byte_of_character{};  // -1: not in the alphabet

  constexpr Alphabet() {
    byte_of_character.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t character = StandsForItself(byte) ? byte : next++;
      character_of_byte[byte] = character;
      byte_of_character[character] = byte;
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

std::string WrittenByte(uint8_t byte) {
  const char32_t character = kAlphabet.character_of_byte[byte];
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  return {static_cast<char>(0xC0 | character >> 6), static_cast<char>(0x80 | (character & 0x3F))};
}

std::optional<std::string> BytesOfWritten(absl::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const Utf8Prefix prefix = ReadUtf8(token);
    if (prefix.kind != Utf8Prefix::Kind::kCodePoint || prefix.code_point >= kAlphabetEnd) {
      return std::nullopt;
    }
    const int byte = kAlphabet.byte_of_character[prefix.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    token.remove_prefix(prefix.length);
  }
  return bytes;
}

}  // namespace peerage
