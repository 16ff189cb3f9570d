#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/command_line/help_formatter.h"
#include "client/commands/command.h"
#include "client/commands/hidden_options.h"
#include "client/commands/options.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;

// What Prepare() says to the flags of one command.
absl::Status Prepare(AddCommand* add, const std::string& line) {
  CLI::App program;
  const std::unique_ptr<SharedOptions> shared = AddSharedOptions(program);
  const std::unique_ptr<Command> command = add(program, *shared);
  program.parse(line);
  EXPECT_TRUE(command->chosen());
  return command->Prepare();
}

TEST(ExpertsCommandTest, TakesFlagsThatFitEachOther) {
  for (const char* line :
       {"experts", "experts --watch 5", "experts --watch", "experts --png a.png",
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

absl::StatusOr<ClientOptions> OptionsOf(AddCommand* add, const std::string& line) {
  CLI::App program;
  const std::unique_ptr<SharedOptions> shared = AddSharedOptions(program);
  const std::unique_ptr<Command> command = add(program, *shared);
  program.parse(line);
  return command->client_options();
}

TEST(CommandTest, KnowsWhereTheServerIsAndHowLongACallMayTake) {
  EXPECT_EQ(OptionsOf(AddStatus, "status")->server, "127.0.0.1:50051");
  EXPECT_EQ(OptionsOf(AddStatus, "status")->timeout, absl::InfiniteDuration());
  EXPECT_EQ(OptionsOf(AddStatus, "--server a:1 status")->server, "a:1");
  EXPECT_EQ(OptionsOf(AddStatus, "--timeout 500ms status")->timeout, absl::Milliseconds(500));
  EXPECT_EQ(OptionsOf(AddStatus, "--timeout 2m status")->timeout, absl::Minutes(2));
  EXPECT_EQ(OptionsOf(AddHealth, "health")->timeout, absl::Seconds(5));
  EXPECT_EQ(OptionsOf(AddHealth, "--timeout 1 health")->timeout, absl::Seconds(1));
}

TEST(CommandTest, RefusesTimesAndAddressesThatAreNone) {
  for (const char* text : {"0", "1x", "25h", "-1s", "inf"}) {
    EXPECT_EQ(OptionsOf(AddStatus, absl::StrCat("--timeout ", text, " status")).status(),
              absl::InvalidArgumentError(absl::StrCat("--timeout is \"", text,
                                                      "\", not 1ms to 24h, such as 500ms or 30s")));
  }
  EXPECT_EQ(
      OptionsOf(AddStatus, "--server http://a:1 status").status(),
      absl::InvalidArgumentError("--server or PEERAGE_SERVER: \"http://a:1\" is no address of "
                                 "a server: it is HOST:PORT, not a URL"));
}

// Every command of the program.
constexpr AddCommand* kCommands[] = {AddGenerate, AddChat,   AddScore,  AddTokenize, AddDetokenize,
                                     AddExperts,  AddModels, AddStatus, AddLogLevel, AddHealth};

TEST(CommandTest, HasHelpThatFitsWithTwoExamples) {
  CLI::App program;
  program.formatter(std::make_shared<HelpFormatter>());
  const std::unique_ptr<SharedOptions> shared = AddSharedOptions(program);
  std::vector<std::unique_ptr<Command>> commands;
  for (AddCommand* add : kCommands) commands.push_back(add(program, *shared));
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string help = command->help();
    for (absl::string_view line : absl::StrSplit(help, '\n')) EXPECT_LE(line.size(), 100u) << line;
    const std::string examples = help.substr(help.find("Examples:\n"));
    const std::vector<std::string> uses =
        absl::StrSplit(examples, absl::StrCat("  peerage ", command->get_name()));
    EXPECT_GE(uses.size(), 3u) << help;
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
  EXPECT_FALSE(PromptOf("x").has_add_bos());
  EXPECT_FALSE(PromptOf("x --chat").has_add_bos());
  EXPECT_FALSE(PromptOf("--ids 1").has_add_bos());
  EXPECT_TRUE(PromptOf("x --bos").add_bos());
  EXPECT_TRUE(PromptOf("x --no-bos").has_add_bos());
  EXPECT_FALSE(PromptOf("x --no-bos").add_bos());
}

TEST(PromptOptionsTest, AreTokenIds) {
  for (const char* line : {"--ids 1,2,3", "--ids=[1,2,3]"}) {
    EXPECT_THAT(PromptOf(line).token_ids().ids(), ElementsAre(1, 2, 3));
  }
  EXPECT_TRUE(PromptOf("--ids 1 --bos").add_bos());
}

TEST(PromptOptionsTest, RefuseTextBesideIds) {
  for (const char* line : {"x --ids 1", "--ids 1 --chat", "--ids 1 --system x"}) {
    CLI::App program;
    const PromptOptions options(program, "prompt");
    program.parse(line);
    EXPECT_EQ(options.Read().status(),
              absl::InvalidArgumentError(
                  "--ids stands for the prompt: leave out text, --chat and --system"));
  }
}

absl::StatusOr<v1::ScoreRequest> HiddenRequestOf(const std::string& line, bool json = false) {
  CLI::App program;
  const HiddenOptions options(program);
  program.parse(line);
  v1::ScoreRequest request;
  const absl::Status status = options.Set(json, request);
  if (!status.ok()) return status;
  return request;
}

TEST(HiddenOptionsTest, AskForLayersAndPositionsInOrder) {
  EXPECT_FALSE(HiddenRequestOf("")->has_hidden_states());
  const auto all = HiddenRequestOf("--hidden-states 3,0,12 --npy x");
  EXPECT_THAT(all->hidden_states().layers(), ElementsAre(0, 3, 12));
  EXPECT_TRUE(all->hidden_states().prompt() && all->hidden_states().generated());
  const auto prompt = HiddenRequestOf("--hidden-states 3 --positions prompt", /*json=*/true);
  EXPECT_TRUE(prompt->hidden_states().prompt() && !prompt->hidden_states().generated());
  const auto generated = HiddenRequestOf("--hidden-states 3 --positions generated --npy x");
  EXPECT_TRUE(!generated->hidden_states().prompt() && generated->hidden_states().generated());
  const auto some = HiddenRequestOf("--hidden-states 3 --positions 7,2 --npy x");
  EXPECT_TRUE(!some->hidden_states().prompt() && !some->hidden_states().generated());
  EXPECT_THAT(some->hidden_states().positions(), ElementsAre(2, 7));
}

TEST(HiddenOptionsTest, RefuseWhatIsNoListOrWouldNotBeSeen) {
  EXPECT_EQ(HiddenRequestOf("--hidden-states 1").status(),
            absl::InvalidArgumentError("--hidden-states needs --npy or --json"));
  for (const char* line : {"--npy x", "--positions all"}) {
    EXPECT_EQ(HiddenRequestOf(line).status(),
              absl::InvalidArgumentError("--positions and --npy need --hidden-states"));
  }
  EXPECT_EQ(HiddenRequestOf("--hidden-states 1, --npy x").status(),
            absl::InvalidArgumentError(
                "--hidden-states is \"\", not a whole number from 0 to 4294967295"));
  EXPECT_EQ(HiddenRequestOf("--hidden-states 1 --positions last --npy x").status(),
            absl::InvalidArgumentError(
                "--positions is \"last\", not a whole number from 0 to 4294967295"));
}

// Every option that may be left out leaves its field unset.
TEST(GenerationOptionsTest, SendNothingThatWasNotGiven) {
  const auto request = [](const std::string& line) {
    CLI::App program;
    const GenerationOptions options(program);
    program.parse(line);
    v1::GenerateRequest request;
    options.Set(request);
    return request;
  };
  EXPECT_EQ(request("").sampling().ByteSizeLong(), 0u);
  EXPECT_EQ(request("").stopping().ByteSizeLong(), 0u);
  const v1::GenerateRequest given = request(
      "--temperature 0 --top-k 0 --top-p 0.5 --min-p 0 --seed 0 --repetition-penalty 1 "
      "--frequency-penalty 0 --presence-penalty -1 --max-tokens 7 --min-tokens 0 --stop a --stop b "
      "--ignore-eos");
  const v1::Sampling& sampling = given.sampling();
  EXPECT_TRUE(sampling.has_temperature() && sampling.has_top_k() && sampling.has_min_p() &&
              sampling.has_seed() && sampling.has_frequency_penalty());
  EXPECT_EQ(sampling.top_p(), 0.5f);
  EXPECT_EQ(sampling.presence_penalty(), -1.0f);
  EXPECT_EQ(given.stopping().max_tokens(), 7u);
  EXPECT_TRUE(given.stopping().has_min_tokens());
  EXPECT_TRUE(given.stopping().ignore_eos());
  EXPECT_THAT(given.stopping().stop(), ElementsAre("a", "b"));
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
