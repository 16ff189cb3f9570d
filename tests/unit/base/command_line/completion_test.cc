#include "base/command_line/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/command_line/options.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class CompletionTest : public ::testing::Test {
 protected:
  CompletionTest() {
    program_.add_option("--server", text_, "Where");
    CLI::App& work = *program_.add_subcommand("work", "Do it");
    AddOptionalNumber(work, "--seed", number_, "Of chance");
    AddWord(work, "--window", text_, "recent|total", "When");
    work.add_option("text", text_, "A text");
    program_.add_subcommand("rest", "Do nothing");
    script_ = testing::TempDir() + "/completion_test.bash";
    std::ofstream(script_) << BashCompletion(program_);
  }

  // What bash offers behind these words, the last of which is being typed.
  std::vector<std::string> Offers(const std::vector<std::string>& words) {
    const std::string command =
        absl::StrCat("bash -c 'compopt() { :; }; source ", script_, "; COMP_WORDS=(",
                     absl::StrJoin(words, " "), "); COMP_CWORD=", words.size() - 1,
                     "; _tester_completion; printf \"%s\\n\" \"${COMPREPLY[@]}\"'");
    std::string output;
    FILE* const bash = popen(command.c_str(), "r");
    for (int c = getc(bash); c != EOF; c = getc(bash)) output += static_cast<char>(c);
    EXPECT_EQ(pclose(bash), 0) << command;
    return absl::StrSplit(output, '\n', absl::SkipEmpty());
  }

  CLI::App program_{"A program of a test.", "tester"};
  std::string text_, script_;
  std::optional<uint64_t> number_;
};

TEST_F(CompletionTest, OffersCommandsAndTheirOptions) {
  EXPECT_THAT(Offers({"tester", "w"}), ElementsAre("work"));
  EXPECT_THAT(Offers({"tester", "work", "--s"}), UnorderedElementsAre("--seed", "--server"));
  EXPECT_THAT(Offers({"tester", "rest", "--s"}), ElementsAre("--server"));
  EXPECT_THAT(Offers({"tester", "work", "--window", "to"}), ElementsAre("total"));
  EXPECT_THAT(Offers({"tester", "work", "--seed", "wo"}), ElementsAre());
}

}  // namespace
}  // namespace peerage
