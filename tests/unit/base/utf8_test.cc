#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

using Kind = Utf8Prefix::Kind;

struct Case {
  std::string bytes;
  Kind kind;
  int length;
  char32_t code_point = 0;
};

TEST(Utf8Test, ReadsTheFirstCodePointOrTheMaximalPartOfOne) {
  const Case cases[] = {
      {std::string(1, '\0'), Kind::kCodePoint, 1, 0},
      {"a", Kind::kCodePoint, 1, 'a'},
      {"\x7F\x80", Kind::kCodePoint, 1, 0x7F},
      {"\xC2\x80", Kind::kCodePoint, 2, 0x80},
      {"\xE0\xA0\x80", Kind::kCodePoint, 3, 0x800},
      {"\xED\x9F\xBF", Kind::kCodePoint, 3, 0xD7FF},
      {"\xEE\x80\x80", Kind::kCodePoint, 3, 0xE000},
      {"\xF0\x90\x80\x80", Kind::kCodePoint, 4, 0x10000},
      {"\xF4\x8F\xBF\xBF", Kind::kCodePoint, 4, 0x10FFFF},
      {"\x80", Kind::kInvalid, 1},
      {"\xC1\x80", Kind::kInvalid, 1},          // overlong
      {"\xE0\x9F\x80", Kind::kInvalid, 1},      // overlong
      {"\xED\xA0\x80", Kind::kInvalid, 1},      // a surrogate
      {"\xF0\x8F\x80\x80", Kind::kInvalid, 1},  // overlong
      {"\xF4\x90\x80\x80", Kind::kInvalid, 1},  // above U+10FFFF
      {"\xF5\x80\x80\x80", Kind::kInvalid, 1},
      {"\xE4\xB8z", Kind::kInvalid, 2},
      {"\xF1\x80\x80z", Kind::kInvalid, 3},
      {"\xE4", Kind::kUnfinished, 1},
      {"\xE4\xB8", Kind::kUnfinished, 2},
      {"\xF1\x80\x80", Kind::kUnfinished, 3},
  };
  for (const Case& c : cases) {
    const Utf8Prefix prefix = ReadUtf8(c.bytes);
    EXPECT_EQ(prefix.kind, c.kind) << testing::PrintToString(c.bytes);
    EXPECT_EQ(prefix.length, c.length) << testing::PrintToString(c.bytes);
    EXPECT_EQ(prefix.code_point, c.code_point) << testing::PrintToString(c.bytes);
    EXPECT_EQ(IsValidUtf8("ok" + c.bytes), c.kind == Kind::kCodePoint && c.bytes != "\x7F\x80")
        << testing::PrintToString(c.bytes);
  }
}

TEST(Utf8Test, FindsTheFirstByteThatBelongsToNoCodePoint) {
  EXPECT_EQ(FindInvalidUtf8("caf\xe9"), 3u);
  EXPECT_EQ(FindInvalidUtf8("caf\xc3\xa9 \xe6\xbc"), 6u);
  EXPECT_EQ(FindInvalidUtf8("caf\xc3\xa9"), std::nullopt);
}

TEST(Utf8Test, AnEmptyTextIsValid) { EXPECT_TRUE(IsValidUtf8("")); }

}  // namespace
}  // namespace peerage
