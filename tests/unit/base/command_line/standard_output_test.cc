#include "base/command_line/standard_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <string>

namespace peerage {
namespace {

// Runs `program` with standard output on this descriptor (-1: closed), in a process of its own, as
// descriptors are the process's; EXPECT_EXIT looks at standard error and at the exit code.
template <typename Program>
void RunWithOutput(int descriptor, Program program) {
  if (descriptor < 0) {
    close(STDOUT_FILENO);
  } else {
    dup2(descriptor, STDOUT_FILENO);
  }
  StandardOutput output;
  const int code = program();
  _exit(output.Finish("tester", code));
}

int Print() {
  std::cout << "an answer\n";
  return 0;
}

TEST(StandardOutputTest, WritesEverything) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string answer(50'000, 'x');
  const auto program = [&answer] {
    std::cout << answer << 'y';
    return 3;
  };
  EXPECT_EXIT(RunWithOutput(ends[1], program), testing::ExitedWithCode(3), "^$");
  std::string read_back(answer.size() + 2, ' ');
  ASSERT_EQ(close(ends[1]), 0);
  size_t size = 0;
  while (const ssize_t got = read(ends[0], &read_back[size], read_back.size() - size)) size += got;
  EXPECT_EQ(read_back.substr(0, size), answer + "y");
  close(ends[0]);
}

TEST(StandardOutputTest, FailsWhereNothingCanBeWritten) {
  const int full = open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  EXPECT_EXIT(RunWithOutput(full, Print), testing::ExitedWithCode(1),
              "^tester: standard output: No space left on device\n$");
  EXPECT_EXIT(RunWithOutput(full, [] { return Print() + 130; }), testing::ExitedWithCode(130),
              "No space left");
  close(full);
}

TEST(StandardOutputTest, MakesTheStreamBadAtOnce) {
  const int full = open("/dev/full", O_WRONLY);
  const auto program = [] {
    std::cout << "an answer" << std::flush;
    return std::cout ? 0 : 7;
  };
  EXPECT_EXIT(RunWithOutput(full, program), testing::ExitedWithCode(7), "No space left");
  close(full);
}

TEST(StandardOutputTest, GivesTheNumberOfClosedOutputToNobodyElse) {
  const auto program = [] {
    const int file = open("/dev/zero", O_RDWR);
    std::cout << "an answer";
    return file == STDOUT_FILENO ? 9 : 0;
  };
  EXPECT_EXIT(RunWithOutput(-1, program), testing::ExitedWithCode(1),
              "^tester: standard output: Bad file descriptor\n$");
}

TEST(StandardOutputTest, IsQuietWhenTheReaderWentAway) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  EXPECT_EXIT(RunWithOutput(ends[1], Print), testing::KilledBySignal(SIGPIPE), "^$");
  const auto ignoring = [] {
    signal(SIGPIPE, SIG_IGN);
    return Print();
  };
  EXPECT_EXIT(RunWithOutput(ends[1], ignoring), testing::ExitedWithCode(128 + SIGPIPE), "^$");
  close(ends[1]);
}

}  // namespace
}  // namespace peerage
