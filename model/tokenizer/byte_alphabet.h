#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

// How byte-level vocabularies write bytes as visible characters (GPT-2's bytes_to_unicode): the
// printable characters of Latin-1 stand for themselves, the other 68 bytes, in order, for U+0100
// onwards. A space is written "Ġ" (U+0120).

// The character for a byte, in UTF-8.
std::string WrittenByte(uint8_t byte);

// The bytes of a written token; nothing when a character is outside the alphabet.
std::optional<std::string> BytesOfWritten(absl::string_view token);

}  // namespace peerage
