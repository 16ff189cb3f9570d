#include "base/command_line/help_formatter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "absl/strings/str_split.h"
#include "base/command_line/options.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class HelpFormatterTest : public ::testing::Test {
 protected:
  HelpFormatterTest() {
    program_.formatter(std::make_shared<HelpFormatter>());
    program_.set_version_flag("--version", "1");
    program_.add_option("--server", text_, "Where it listens")
        ->type_name("ADDRESS")
        ->envname("HELP_TEST_SERVER")
        ->default_str("here");
    command_ = program_.add_subcommand("work", "Do it");
    AddOptionalNumber(*command_, "-n,--number", number_, "How many")->default_str("7");
    AddOptionalFlag(*command_, "--bos,!--no-bos", flag_, "A flag");
    AddWord(*command_, "--window", text_, "recent|total", std::string(30, 'w') + " of words")
        ->required();
    command_->add_option("--whole", whole_, "Bound by CLI11")->check(CLI::Range(1, 9));
    command_->add_option("text", text_, "The text")->type_name("TEXT")->check(CLI::Range(1, 2));
  }

  CLI::App program_{"A program of a test.", "tester"};
  CLI::App* command_ = nullptr;
  std::optional<uint32_t> number_;
  std::optional<bool> flag_;
  std::string text_;
  int whole_ = 0;
};

TEST_F(HelpFormatterTest, SaysDefaultsAndVariablesAlwaysAlike) {
  const std::string help = command_->help();
  EXPECT_THAT(help, HasSubstr("  -n, --number N              How many (default: 7)\n"));
  EXPECT_THAT(help, HasSubstr("  --bos, --no-bos             A flag\n"));
  EXPECT_THAT(help, HasSubstr("  --window recent|total       wwww"));
  EXPECT_THAT(help, HasSubstr("  --whole N                   Bound by CLI11\n"));
  EXPECT_THAT(help, HasSubstr("(required)"));
  EXPECT_THAT(help, HasSubstr("Options of every command:\n  --server ADDRESS"));
  EXPECT_THAT(help, HasSubstr("(default: here) (environment: HELP_TEST_SERVER)\n"));
}

TEST_F(HelpFormatterTest, ShowsNothingOfClI11) {
  for (const std::string& help : {command_->help(), program_.help()}) {
    for (const char* word : {"UINT", "FLOAT", "{", "INT in", "Env:", "REQUIRED"}) {
      EXPECT_THAT(help, Not(HasSubstr(word)));
    }
  }
}

TEST_F(HelpFormatterTest, FitsOneHundredColumns) {
  std::string words;
  for (int i = 0; i < 60; ++i) words += "word ";
  command_->add_flag("--a-flag-with-a-name-that-is-long")->description(words + "end");
  command_->description(words + "end");
  const std::string help = command_->help();
  EXPECT_THAT(help, HasSubstr(" end\n"));
  for (absl::string_view line : absl::StrSplit(help, '\n')) EXPECT_LE(line.size(), 100u) << line;
}

TEST_F(HelpFormatterTest, ListsCommands) {
  EXPECT_THAT(program_.help(), HasSubstr("Commands:\n  work                        Do it\n"));
  EXPECT_THAT(program_.help(), HasSubstr("tester [OPTIONS] [COMMAND]"));
}

}  // namespace
}  // namespace peerage
