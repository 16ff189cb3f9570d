#include "server/identity/bearer_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// printf TOKEN | sha256sum
constexpr char kOfApple[] = "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b";
constexpr char kOfBanana[] = "b493d48364afe44d11c0165cf470a4164d1e2609911ef998be868d46ade3de4e";

absl::Time TimeOf(const char* time) {
  absl::Time parsed;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, time, &parsed, &error)) << error;
  return parsed;
}

std::string ErrorOf(const std::string& text) {
  const auto tokens = BearerTokens::Parse(text);
  EXPECT_FALSE(tokens.ok()) << text;
  return std::string(tokens.status().message());
}

TEST(BearerTokensTest, KnowsATokenByItsDigest) {
  const auto tokens = BearerTokens::Parse(
      absl::StrCat("# who may call\n\nalice ", kOfApple, "\r\nbob\t", kOfBanana));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const absl::Time now = TimeOf("2026-01-01T00:00:00Z");
  EXPECT_EQ(tokens->Find("apple", now).state, TokenState::kValid);
  EXPECT_EQ(tokens->Find("apple", now).name, "alice");
  EXPECT_EQ(tokens->Find("banana", now).name, "bob");
  for (const char* unknown : {"", "appl", "apple ", "Apple", kOfApple}) {
    EXPECT_EQ(tokens->Find(unknown, now).state, TokenState::kUnknown) << unknown;
    EXPECT_EQ(tokens->Find(unknown, now).name, "") << unknown;
  }
}

TEST(BearerTokensTest, AnOldTokenGoesAfterTheNewOneCame) {
  const auto tokens = BearerTokens::Parse(
      absl::StrCat("alice ", kOfApple, " 2026-06-01T12:00:00+02:00\nalice ", kOfBanana));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->Find("apple", TimeOf("2026-06-01T09:59:59Z")).state, TokenState::kValid);
  EXPECT_EQ(tokens->Find("apple", TimeOf("2026-06-01T10:00:00Z")).state, TokenState::kExpired);
  EXPECT_EQ(tokens->Find("banana", TimeOf("2026-06-01T10:00:00Z")).state, TokenState::kValid);
}

TEST(BearerTokensTest, NamesTheLineAndDoesNotRepeatIt) {
  const std::string good = absl::StrCat("alice ", kOfApple, "\n");
  for (const std::string& line :
       {std::string("hunter2"), std::string("bob hunter2"),
        absl::StrCat("bob ", kOfApple, " hunter2"),
        absl::StrCat("bob ", kOfApple, " 2030-01-01T00:00:00Z hunter2"),
        absl::StrCat("bob ", std::string(kOfApple).substr(1)), absl::StrCat("bob ", kOfApple, "0"),
        absl::StrCat("bob g", std::string(kOfApple).substr(1)), absl::StrCat("hunter2 ", kOfApple),
        absl::StrCat("* ", kOfBanana), absl::StrCat("anonymous ", kOfBanana),
        absl::StrCat("b\xc3\xb6se ", kOfBanana),
        absl::StrCat(std::string(129, 'b'), " ", kOfBanana)}) {
    const std::string error = ErrorOf(good + "# comment\n" + line + "\n");
    EXPECT_THAT(error, HasSubstr("line 3")) << line;
    EXPECT_THAT(error, Not(HasSubstr("hunter2"))) << line;
    EXPECT_THAT(error, Not(HasSubstr(std::string(kOfApple).substr(1, 20)))) << line;
  }
}

}  // namespace
}  // namespace peerage
