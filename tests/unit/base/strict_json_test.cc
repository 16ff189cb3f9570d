#include "base/strict_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

using ::testing::HasSubstr;

TEST(StrictJsonTest, BuildsTheSameValueAsTheLibrarysOwnParser) {
  const std::string text =
      R"( {"a": [1, -2, 3.5, "x\u00e9", null, true, [], {}], "b": {"c": {"a": false}}} )";

  const auto value = ParseStrictJson(text);

  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(*value, nlohmann::json::parse(text));
}

TEST(StrictJsonTest, KeepsTheKindsOfNumbersApart) {
  const auto numbers = ParseStrictJson("[1, 1.0, 1e0, -0, 18446744073709551616]");

  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_TRUE((*numbers)[0].is_number_unsigned());
  for (int i = 1; i < 5; ++i) EXPECT_FALSE((*numbers)[i].is_number_unsigned()) << i;
}

struct BadJson {
  const char* name;
  std::string text;
  const char* error;
};

class BadJsonTest : public ::testing::TestWithParam<BadJson> {};

TEST_P(BadJsonTest, IsRefused) {
  const auto value = ParseStrictJson(GetParam().text, {.max_depth = 3, .max_values = 8});

  ASSERT_FALSE(value.ok());
  EXPECT_THAT(std::string(value.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadJsonTest,
    ::testing::Values(
        BadJson{"Empty", "", "not valid JSON"}, BadJson{"Blank", "  ", "not valid JSON"},
        BadJson{"DuplicateKey", R"({"a": 1, "b": 2, "a": 3})", R"(duplicate key "a")"},
        BadJson{"DuplicateKeyInside", R"({"a": {"b": 1, "b": 1}})", R"(duplicate key "b")"},
        BadJson{"DuplicateKeyByEscape", R"({"a": 1, "\u0061": 2})", "duplicate key"},
        BadJson{"NulAfterTheValue", std::string("{}\0", 3), "NUL"},
        BadJson{"NulThenMore", std::string("{}\0{}", 5), "NUL"},
        BadJson{"ByteOrderMark", "\xef\xbb\xbf{}", "byte-order mark"},
        BadJson{"SecondValue", "{} {}", "not valid JSON"},
        BadJson{"Comment", "{} // x", "not valid JSON"},
        BadJson{"TrailingComma", "[1,]", "not valid JSON"},
        BadJson{"LeadingZero", "[01]", "not valid JSON"}, BadJson{"Nan", "[NaN]", "not valid JSON"},
        BadJson{"TooLargeANumber", "[1e999]", "not valid JSON"},
        BadJson{"Unclosed", "[1, 2", "not valid JSON"},
        BadJson{"InvalidUtf8", "[\"\xff\"]", "not valid JSON"},
        BadJson{"TooDeep", "[[[[]]]]", "deeper than 3"},
        BadJson{"TooManyValues", "[1,2,3,4,5,6,7,8]", "more than 8 JSON values"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
