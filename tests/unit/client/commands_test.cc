#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "client/commands/command.h"
#include "client/commands/options.h"

namespace peerage::client {
namespace {

// What Prepare() says to the flags of one command.
absl::Status Prepare(std::unique_ptr<Command> (*add)(CLI::App&), const std::string& line) {
  CLI::App program;
  const std::unique_ptr<Command> command = add(program);
  program.parse(line);
  EXPECT_TRUE(command->chosen());
  return command->Prepare();
}

TEST(ExpertsCommandTest, TakesFlagsThatFitEachOther) {
  for (const char* line :
       {"experts", "experts --watch 5", "experts --png a.png",
        "experts --layer 0 --npy a.npy --png a.png --maps 8", "experts --png a.png --scale 3"}) {
    EXPECT_TRUE(Prepare(AddExperts, line).ok()) << line;
  }
}

TEST(ExpertsCommandTest, RefusesFlagsThatDoNot) {
  const struct {
    const char* line;
    const char* message;
  } cases[] = {
      {"experts --maps 2", "--maps needs --layer"},
      {"experts --layer 0 --maps 2", "--maps and --scale are for a picture: name one with --png"},
      {"experts --scale 2", "--maps and --scale are for a picture: name one with --png"},
      {"experts --watch --layer 0", "--watch is for all layers: leave out --layer"},
      {"experts --watch --png a.png", "--watch writes no files: leave out --png and --npy"},
      {"experts --watch --npy a.npy", "--watch writes no files: leave out --png and --npy"},
  };
  for (const auto& [line, message] : cases) {
    EXPECT_EQ(Prepare(AddExperts, line), absl::InvalidArgumentError(message)) << line;
  }
}

ClientOptions OptionsOf(std::unique_ptr<Command> (*add)(CLI::App&), const std::string& line) {
  CLI::App program;
  const std::unique_ptr<Command> command = add(program);
  program.parse(line);
  return command->client_options();
}

TEST(CommandTest, KnowsWhereTheServerIsAndHowLongACallMayTake) {
  EXPECT_EQ(OptionsOf(AddStatus, "status").server, "127.0.0.1:50051");
  EXPECT_EQ(OptionsOf(AddStatus, "status").timeout, absl::InfiniteDuration());
  EXPECT_EQ(OptionsOf(AddStatus, "status --server a:1").server, "a:1");
  EXPECT_EQ(OptionsOf(AddStatus, "status --timeout 500ms").timeout, absl::Milliseconds(500));
  EXPECT_EQ(OptionsOf(AddStatus, "status --timeout 2m").timeout, absl::Minutes(2));
  EXPECT_EQ(OptionsOf(AddHealth, "health").timeout, absl::Seconds(5));
  EXPECT_EQ(OptionsOf(AddHealth, "health --timeout 1").timeout, absl::Seconds(1));
}

TEST(CommandTest, RefusesTimesThatAreNone) {
  for (const char* line : {"status --timeout 0", "status --timeout 1x", "status --timeout 25h"}) {
    EXPECT_THROW(OptionsOf(AddStatus, line), CLI::ParseError) << line;
  }
}

v1::Prompt PromptOf(const std::string& line) {
  CLI::App program;
  const PromptOptions options(program, "prompt");
  program.parse(line);
  const absl::StatusOr<v1::Prompt> prompt = options.Read();
  EXPECT_TRUE(prompt.ok()) << prompt.status();
  return prompt.value_or(v1::Prompt());
}

TEST(PromptOptionsTest, AreATextOrAChat) {
  EXPECT_EQ(PromptOf("Hello").text(), "Hello");
  EXPECT_FALSE(PromptOf("Hello").has_chat());

  const v1::Chat chat = PromptOf("Hello --chat").chat();
  ASSERT_EQ(chat.messages_size(), 1);
  EXPECT_EQ(chat.messages(0).role(), "user");
  EXPECT_EQ(chat.messages(0).content(), "Hello");

  const v1::Chat with_system = PromptOf("Hello --system Brief").chat();
  ASSERT_EQ(with_system.messages_size(), 2);
  EXPECT_EQ(with_system.messages(0).role(), "system");
  EXPECT_EQ(with_system.messages(0).content(), "Brief");
  EXPECT_EQ(with_system.messages(1).content(), "Hello");
}

TEST(PromptOptionsTest, SayWhetherTheBosTokenComesFirst) {
  EXPECT_TRUE(PromptOf("x --bos").add_bos());
  EXPECT_TRUE(PromptOf("x --no-bos").has_add_bos());
  EXPECT_FALSE(PromptOf("x --no-bos").add_bos());
}

TEST(TraceOptionTest, IsUnspecifiedUnlessGiven) {
  const auto level = [](const std::string& line) {
    CLI::App program;
    const TraceOption option(program);
    program.parse(line);
    return option.level();
  };
  EXPECT_EQ(level(""), v1::EXPERT_TRACE_LEVEL_UNSPECIFIED);
  EXPECT_EQ(level("--trace summary"), v1::EXPERT_TRACE_LEVEL_SUMMARY);
  EXPECT_EQ(level("--trace full"), v1::EXPERT_TRACE_LEVEL_FULL);
  EXPECT_THROW(level("--trace none"), CLI::ParseError);
}

}  // namespace
}  // namespace peerage::client
