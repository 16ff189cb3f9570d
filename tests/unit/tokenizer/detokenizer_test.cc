#include "model/tokenizer/detokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace peerage {
namespace {

constexpr TokenId kSpecial = 256;

// Token i below 256 is byte i; 256 is "<s>".
class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    for (int byte = 0; byte < 256; ++byte) bytes_.emplace_back(1, static_cast<char>(byte));
    bytes_.push_back("<s>");
  }

  absl::StatusOr<std::vector<TokenId>> EncodeUpTo(size_t, absl::string_view,
                                                  SpecialTokens) const override {
    return absl::UnimplementedError("a tokenizer of bytes");
  }
  absl::StatusOr<std::vector<TokenId>> EncodeChatUpTo(size_t,
                                                      absl::Span<const ChatTurn>) const override {
    return absl::UnimplementedError("a tokenizer of bytes");
  }
  absl::string_view Bytes(TokenId id) const override { return bytes_[id]; }
  bool IsSpecial(TokenId id) const override { return id == kSpecial; }
  int vocab_size() const override { return static_cast<int>(bytes_.size()); }
  std::optional<TokenId> bos_id() const override { return std::nullopt; }
  absl::Span<const TokenId> eos_ids() const override { return {}; }
  bool add_bos() const override { return false; }
  absl::string_view chat_template_name() const override { return ""; }
  absl::Status chat_status() const override { return absl::UnimplementedError("no chat"); }
  const TokenOrigins& origins() const override { return origins_; }

 private:
  const TokenOrigins origins_;
  std::vector<std::string> bytes_;
};

std::vector<TokenId> TokensOf(absl::string_view bytes) {
  std::vector<TokenId> tokens;
  for (const char c : bytes) tokens.push_back(static_cast<uint8_t>(c));
  return tokens;
}

TEST(DetokenizerTest, HoldsTextBackInsideACodePoint) {
  const ByteTokenizer tokenizer;
  Detokenizer detokenizer(&tokenizer);

  EXPECT_EQ(detokenizer.Append('a'), "a");
  EXPECT_EQ(detokenizer.Append(0xE4), "");
  EXPECT_EQ(detokenizer.Append(0xB8), "");
  EXPECT_EQ(detokenizer.Append(0xAD), "中");
  EXPECT_EQ(detokenizer.Flush(), "");
}

// The last line is the example of the Unicode standard, table 3-8.
TEST(DetokenizerTest, ReplacesEachMaximalInvalidPartOnce) {
  const ByteTokenizer tokenizer;
  const std::pair<const char*, const char*> cases[] = {
      {"\x80\x80", "\uFFFD\uFFFD"},
      {"\xE4\xB8", "\uFFFD"},
      {"\xE4\xB8z", "\uFFFDz"},
      {"\xE4\xE4\xB8\xAD", "\uFFFD中"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
       "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(Detokenize(tokenizer, TokensOf(bytes), false), text) << testing::PrintToString(bytes);
  }
}

TEST(DetokenizerTest, SpecialTokensLeaveNoTextUnlessAsked) {
  const ByteTokenizer tokenizer;
  const std::vector<TokenId> tokens = {'a', 0xE4, kSpecial, 0xB8, 0xAD};

  EXPECT_EQ(Detokenize(tokenizer, tokens, /*include_special_tokens=*/false), "a中");
  EXPECT_EQ(Detokenize(tokenizer, tokens, /*include_special_tokens=*/true),
            "a\uFFFD<s>\uFFFD\uFFFD");
}

TEST(DetokenizerTest, ACopyGoesItsOwnWay) {
  const ByteTokenizer tokenizer;
  Detokenizer first(&tokenizer);
  first.Append(0xC3);
  Detokenizer second = first;

  EXPECT_EQ(first.Append(0xA9), "é");
  EXPECT_EQ(second.Append('x'), "\uFFFDx");
}

// Every prefix, ended, is what all of it at once would be, whatever the bytes.
TEST(DetokenizerTest, EverySplitGivesTheSameText) {
  constexpr int kSeed = 20240704;
  const ByteTokenizer tokenizer;
  std::mt19937 random(kSeed);
  const uint8_t interesting[] = {'a', 0x80, 0xBF, 0xC3, 0xE4, 0xED, 0xF0, 0xF4, 0x9F, 0xFF};
  for (int round = 0; round < 2000; ++round) {
    std::vector<TokenId> tokens;
    for (int i = 0; i < 12; ++i) tokens.push_back(interesting[random() % std::size(interesting)]);
    const std::string whole = Detokenize(tokenizer, tokens, false);
    for (size_t split = 0; split <= tokens.size(); ++split) {
      Detokenizer detokenizer(&tokenizer);
      std::string text;
      for (size_t i = 0; i < split; ++i) text += detokenizer.Append(tokens[i]);
      Detokenizer rest = detokenizer;
      std::string ended = text + detokenizer.Flush();
      EXPECT_EQ(ended, Detokenize(tokenizer, absl::MakeSpan(tokens).first(split), false));
      for (size_t i = split; i < tokens.size(); ++i) text += rest.Append(tokens[i]);
      ASSERT_EQ(text + rest.Flush(), whole) << "round " << round << " of seed " << kSeed;
    }
  }
}

}  // namespace
}  // namespace peerage
