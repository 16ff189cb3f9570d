#include "base/command_line/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace peerage {
namespace {

std::optional<bool> Flag(const std::string& line) {
  CLI::App app;
  std::optional<bool> value;
  AddOptionalFlag(app, "--bos,!--no-bos", value, "");
  app.parse(line);
  return value;
}

TEST(OptionalFlagTest, IsUnsetUnlessGiven) {
  EXPECT_EQ(Flag(""), std::nullopt);
  EXPECT_EQ(Flag("--bos"), true);
  EXPECT_EQ(Flag("--no-bos"), false);
}

// What an app says against a line, in CLI11's exception.
template <typename Parse>
std::string Refusal(Parse parse) {
  try {
    parse();
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "nothing";
}

TEST(OptionalFlagTest, RefusesBothAtOnce) {
  EXPECT_EQ(Refusal([] { Flag("--bos --no-bos"); }), "--bos and --no-bos exclude each other");
}

template <typename T>
std::optional<T> Number(const std::vector<std::string>& arguments, NumberRangeOf<T> range = {}) {
  CLI::App app;
  std::optional<T> value;
  AddOptionalNumber(app, "-s,--seed", value, "", range);
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  app.parse(reversed);
  return value;
}

TEST(OptionalNumberTest, IsUnsetUnlessGiven) {
  EXPECT_EQ(Number<uint64_t>({}), std::nullopt);
  EXPECT_EQ(Number<uint64_t>({"--seed", "0"}), 0u);
  EXPECT_EQ(Number<uint64_t>({"-s", "18446744073709551615"}), 18446744073709551615u);
  EXPECT_EQ(Number<int32_t>({"--seed", "-1"}), -1);
  EXPECT_EQ(Number<float>({"--seed", "0.25"}), 0.25f);
  EXPECT_EQ(Number<float>({"--seed", "-2"}), -2.0f);
}

TEST(OptionalNumberTest, RefusesWhatIsNoneOfItsRange) {
  for (const char* text : {"-1", "18446744073709551616", "", " 1", "1.5", "0x10", "one", "1 2"}) {
    EXPECT_EQ(Refusal([text] {
                Number<uint64_t>({"--seed", text});
              }),
              "--seed is \"" + std::string(text) +
                  "\", not a whole number from 0 to 18446744073709551615");
  }
  for (const char* text : {"nan", "inf", "1e999", "", "--"}) {
    EXPECT_EQ(Refusal([text] {
                Number<float>({"--seed", text});
              }),
              "--seed is \"" + std::string(text) + "\", not a number");
  }
  EXPECT_EQ(Refusal([] {
              Number<uint32_t>({"--seed", "0"}, {.least = 1, .most = 9});
            }),
            "--seed is \"0\", not a whole number from 1 to 9");
}

TEST(NumberOrAloneTest, MayStandAlone) {
  const auto number = [](const std::string& line) {
    CLI::App app;
    std::optional<uint32_t> value;
    bool other = false;
    AddNumberOrAlone(app, "--watch", value, 15, "", {.least = 1, .most = 99});
    app.add_flag("--json", other);
    app.parse(line);
    return value;
  };
  EXPECT_EQ(number(""), std::nullopt);
  EXPECT_EQ(number("--watch"), 15u);
  EXPECT_EQ(number("--watch --json"), 15u);
  EXPECT_EQ(number("--watch 3 --json"), 3u);
  EXPECT_EQ(number("--watch=3"), 3u);
  EXPECT_EQ(Refusal([&] { number("--watch 0"); }),
            "--watch is \"0\", not a whole number from 1 to 99");
}

TEST(WordOptionTest, TakesItsWordsAlone) {
  CLI::App app;
  std::string word = "recent";
  const CLI::Option* option = AddWord(app, "--window", word, "recent|total", "");
  EXPECT_EQ(option->get_type_name(), "recent|total");
  app.parse("--window total");
  EXPECT_EQ(word, "total");
  EXPECT_EQ(Refusal([&app] { app.parse("--window al"); }),
            "--window is \"al\", not one of recent, total");
}

}  // namespace
}  // namespace peerage
