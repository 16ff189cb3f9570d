#include "model/tokenizer/byte_alphabet.h"

#include <gtest/gtest.h>

#include <set>

namespace peerage {
namespace {

TEST(ByteAlphabetTest, WritesTheKnownCharacters) {
  EXPECT_EQ(WrittenByte('A'), "A");
  EXPECT_EQ(WrittenByte(' '), "Ġ");
  EXPECT_EQ(WrittenByte('\n'), "Ċ");
  EXPECT_EQ(WrittenByte(0x00), "Ā");
  EXPECT_EQ(WrittenByte(0xAD), "Ń");
  EXPECT_EQ(WrittenByte(0xE9), "é");
}

TEST(ByteAlphabetTest, EveryByteHasItsOwnCharacterAndComesBack) {
  std::set<std::string> written;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string character = WrittenByte(byte);
    written.insert(character);
    EXPECT_EQ(BytesOfWritten(character), std::string(1, static_cast<char>(byte))) << byte;
  }
  EXPECT_EQ(written.size(), 256u);
}

TEST(ByteAlphabetTest, RefusesCharactersOutsideTheAlphabet) {
  EXPECT_EQ(BytesOfWritten("Ġhe"), " he");
  EXPECT_EQ(BytesOfWritten(""), "");
  for (const char* token : {" he", "\n", "中", "\u0144", "\u00AD", "a\xFF", "\xC4"}) {
    EXPECT_EQ(BytesOfWritten(token), std::nullopt) << testing::PrintToString(token);
  }
}

}  // namespace
}  // namespace peerage
