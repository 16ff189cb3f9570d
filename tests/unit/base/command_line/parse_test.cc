#include "base/command_line/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/command_line/help_formatter.h"
#include "base/command_line/options.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

// A program with a command `work`, and what became of a command line.
class ParseTest : public ::testing::Test {
 protected:
  // What is said on standard error.
  std::string Parse(std::vector<std::string> words) {
    CLI::App program("A program of a test.", "tester");
    AddOptions(program);
    words.insert(words.begin(), "tester");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    code_ = ParseCommandLine(program, static_cast<int>(argv.size()), argv.data());
    output_ = testing::internal::GetCapturedStdout();
    return testing::internal::GetCapturedStderr();
  }

  void AddOptions(CLI::App& program) {
    program.formatter(std::make_shared<HelpFormatter>());
    program.require_subcommand(1);
    program.add_option("--server", server_, "Where");
    for (const char* name : {"work", "rest"}) {
      CLI::App& command = *program.add_subcommand(name, "Do it");
      AddOptionalNumber(command, "--seed", seed_, "Of chance");
      command.add_option("--file", file_, "A file")->type_name("FILE");
      command.add_option("text", text_, "A text");
    }
  }

  std::string server_, file_, text_;
  std::optional<uint64_t> seed_;
  std::optional<int> code_;
  std::string output_;
};

TEST_F(ParseTest, TakesOptionsOfTheProgramBeforeTheCommand) {
  EXPECT_EQ(Parse({"--server", "a", "work", "text"}), "");
  EXPECT_EQ(code_, std::nullopt);
  EXPECT_EQ(server_, "a");
  EXPECT_EQ(text_, "text");
}

TEST_F(ParseTest, TakesOptionsOfTheProgramBehindTheCommand) {
  EXPECT_EQ(Parse({"work", "--server", "a", "rest"}), "");
  EXPECT_EQ(code_, std::nullopt);
  EXPECT_EQ(server_, "a");
  EXPECT_EQ(text_, "rest");  // a text, though there is a command of that name
}

TEST_F(ParseTest, SaysInOneLineWhatIsWrong) {
  const struct {
    std::vector<std::string> words;
    std::string line;
  } cases[] = {
      {{"wrok"}, "unknown command \"wrok\"; did you mean work?"},
      {{"--server", "a", "wrok", "--seed", "1"}, "unknown option --seed"},
      {{"generate"}, "unknown command \"generate\""},
      {{"work", "--sed", "1"}, "unknown option --sed; did you mean --seed?"},
      {{"work", "--servr=a"}, "unknown option --servr; did you mean --server?"},
      {{"work", "a", "b"}, "one argument too many: \"b\""},
      {{"work", "--seed", "-1"},
       "--seed is \"-1\", not a whole number from 0 to "
       "18446744073709551615"},
      {{"work", "--seed"}, "--seed needs a value"},
      {{"work", "--seed", "1", "--seed", "2"}, "--seed may be given once"},
      {{}, "which command? `tester --help` lists them"},
      {{"work", "caf\xe9"}, "text: byte 3 is not UTF-8"},
      {{"work", "--server", "\xff"}, "--server: byte 0 is not UTF-8"},
      {{"work", "--\xff"}, "an option is not UTF-8"},
      {{"work", "--a\x1b[31m"}, "unknown option --a [31m"},
  };
  for (const auto& [words, line] : cases) {
    EXPECT_EQ(Parse(words), "tester: " + line + "\n");
    EXPECT_EQ(code_, 2) << line;
  }
}

TEST_F(ParseTest, LetsFilesHaveAnyName) {
  EXPECT_EQ(Parse({"work", "--file", "caf\xe9"}), "");
  EXPECT_EQ(code_, std::nullopt);
  EXPECT_EQ(file_, "caf\xe9");
}

TEST_F(ParseTest, PrintsHelpAndCompletion) {
  EXPECT_EQ(Parse({"work", "--help"}), "");
  EXPECT_EQ(code_, 0);
  EXPECT_THAT(output_, HasSubstr("--seed N"));
  EXPECT_EQ(Parse({"completion"}), "");
  EXPECT_EQ(code_, 0);
  EXPECT_THAT(output_, HasSubstr("complete -F _tester_completion tester\n"));
}

}  // namespace
}  // namespace peerage
