#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Arguments = std::vector<std::string>;

std::string WriteFile(const std::string& text) {
  std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::replace(name.begin(), name.end(), '/', '_');
  const std::string path = ::testing::TempDir() + "/peerage_config_" + name + ".toml";
  std::ofstream(path) << text;
  return path;
}

ServerConfig ParseOrDie(Arguments arguments, const Environment& environment = {}) {
  const auto command_line = ParseCommandLine(arguments, environment);
  EXPECT_TRUE(command_line.ok()) << command_line.status();
  return command_line.ok() ? command_line->config : ServerConfig{};
}

std::string ErrorOf(Arguments arguments, const Environment& environment = {}) {
  const auto command_line = ParseCommandLine(arguments, environment);
  if (command_line.ok()) return "no error";
  EXPECT_EQ(command_line.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(command_line.status().message()), Not(HasSubstr("\n")));
  return std::string(command_line.status().message());
}

TEST(ConfigTest, GivesEveryOptionItsDefault) {
  const ServerConfig config = ParseOrDie({"--model", "/models/SmolLM2.Q4_1.gguf"});

  EXPECT_EQ(config.model, "/models/SmolLM2.Q4_1.gguf");
  EXPECT_EQ(config.model_name, "SmolLM2.Q4_1");
  EXPECT_EQ(config.listen.ToString(), "127.0.0.1:50051");
  EXPECT_EQ(config.admin_listen.ToString(), "127.0.0.1:9091");
  EXPECT_EQ(config.device, "auto");
  EXPECT_GE(config.threads, 1);
  EXPECT_EQ(config.weights_dtype, "auto");
  EXPECT_EQ(config.expert_dtype, "auto");
  EXPECT_EQ(config.activation_dtype, "auto");
  EXPECT_EQ(config.kv_dtype, "auto");
  EXPECT_FALSE(config.cuda_batch_invariant);
  EXPECT_EQ(config.max_batch_tokens, 512);
  EXPECT_EQ(config.max_sequences, 64);
  EXPECT_EQ(config.max_queued_requests, 256);
  EXPECT_EQ(config.max_queued_tokens, 4'000'000);
  EXPECT_EQ(config.max_request_mib, 4);
  EXPECT_EQ(config.min_ping_interval, absl::Seconds(10));
  EXPECT_EQ(config.slow_reader_timeout, absl::Minutes(1));
  EXPECT_EQ(config.max_unsent_mib, 256);
  EXPECT_EQ(config.kv_cache_mib, std::nullopt);
  EXPECT_EQ(config.expert_usage, "recent");
  EXPECT_EQ(config.expert_trace, "summary");
  EXPECT_EQ(config.max_trace_mib, 3);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(30));
  EXPECT_EQ(config.step_timeout, absl::Minutes(2));
  EXPECT_EQ(config.log_format, "text");
  EXPECT_EQ(config.log_level, "info");
  EXPECT_FALSE(config.log_content);
  EXPECT_EQ(config.log_rate, 100);
}

TEST(ConfigTest, LetsAFlagBeatTheEnvironmentAndTheEnvironmentBeatTheFile) {
  const std::string file = WriteFile("max-sequences = 1\nmax-queued-requests = 1\nthreads = 1\n");
  const Environment environment = {{"PEERAGE_MAX_SEQUENCES", "2"},
                                   {"PEERAGE_MAX_QUEUED_REQUESTS", "2"}};

  const ServerConfig config =
      ParseOrDie({"--model=m", "--config", file, "--max-sequences", "3"}, environment);

  EXPECT_EQ(config.max_sequences, 3);
  EXPECT_EQ(config.max_queued_requests, 2);
  EXPECT_EQ(config.threads, 1);
}

TEST(ConfigTest, TakesASwitchAloneAndWithItsValue) {
  EXPECT_TRUE(ParseOrDie({"--model=m", "--log-content"}).log_content);
  EXPECT_TRUE(ParseOrDie({"--log-content", "--model=m"}).log_content);
  EXPECT_TRUE(ParseOrDie({"--model=m", "--log-content", "true"}).log_content);
  EXPECT_FALSE(ParseOrDie({"--model=m", "--log-content=false"}).log_content);
  const Environment on = {{"PEERAGE_LOG_CONTENT", "true"}};
  EXPECT_TRUE(ParseOrDie({"--model=m"}, on).log_content);
  EXPECT_FALSE(ParseOrDie({"--model=m", "--log-content", "false"}, on).log_content);
  const std::string file = WriteFile("model = \"m\"\nlog-content = true\n");
  EXPECT_TRUE(ParseOrDie({"--config", file}).log_content);
}

TEST(ConfigTest, ReadsTheFileThatTheEnvironmentNames) {
  const std::string file = WriteFile("model = \"m\"\nthreads = 3\n");

  EXPECT_EQ(ParseOrDie({}, {{"PEERAGE_CONFIG", file}}).threads, 3);
}

TEST(ConfigTest, TakesAnEmptyVariableAsUnset) {
  EXPECT_EQ(ParseOrDie({"--model=m"}, {{"PEERAGE_MAX_SEQUENCES", ""}}).max_sequences, 64);
}

struct Value {
  std::string option;
  std::string value;
};

// How gtest names a failing case.
void PrintTo(const Value& value, std::ostream* os) { *os << value.option << "=" << value.value; }

class RefusedValueTest : public ::testing::TestWithParam<Value> {};

TEST_P(RefusedValueTest, NamesTheOptionWhereverItWasWritten) {
  const auto& [option, value] = GetParam();
  std::string variable = "PEERAGE_" + option;
  for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));

  EXPECT_THAT(ErrorOf({"--model=m", "--" + option + "=" + value}), HasSubstr("--" + option));
  if (!value.empty()) {
    EXPECT_THAT(ErrorOf({"--model=m"}, {{variable, value}}), HasSubstr(variable + ":"));
  }
  const std::string file = WriteFile(option + " = '" + value + "'\n");
  EXPECT_THAT(ErrorOf({"--model=m", "--config=" + file}), HasSubstr("line 1: " + option + ":"));
}

INSTANTIATE_TEST_SUITE_P(
    EveryOption, RefusedValueTest,
    ::testing::Values(
        Value{"model-name", "a b"}, Value{"model-name", std::string(129, 'a')},
        Value{"listen", "localhost"}, Value{"listen", ":1"}, Value{"listen", "::1:80"},
        Value{"listen", "[::1]"}, Value{"listen", "[]:1"}, Value{"listen", "[localhost]:1"},
        Value{"listen", "h:65536"}, Value{"listen", "h:-1"}, Value{"listen", "h:"},
        Value{"listen", "unix:"}, Value{"listen", "unix:a"},
        Value{"listen", "unix:/" + std::string(107, 'a')}, Value{"listen-mode", "0600"},
        Value{"listen-mode", "68"}, Value{"listen-mode", "608"}, Value{"admin-listen", "unix:/a"},
        Value{"admin-listen", "h:x"}, Value{"device", "gpu"}, Value{"device", "cuda:"},
        Value{"device", "cuda:0,"}, Value{"device", "cuda:-1"}, Value{"device", "cpu,cuda:0"},
        Value{"workers", "0"}, Value{"workers", "65"}, Value{"threads", "0"},
        Value{"threads", "1025"}, Value{"threads", "two"}, Value{"threads", "1.5"},
        Value{"weights-dtype", "int8"}, Value{"expert-dtype", "q8_0"},
        Value{"activation-dtype", "f16"}, Value{"kv-dtype", "q8_0"},
        Value{"cuda-batch-invariant", "1"}, Value{"max-batch-tokens", "0"},
        Value{"max-batch-tokens", "65537"}, Value{"max-sequences", "0"},
        Value{"max-sequences", "4097"}, Value{"max-queued-requests", "0"},
        Value{"max-queued-requests", "1000001"}, Value{"max-queued-requests", ""},
        Value{"max-sequences", "99999999999999999999"}, Value{"threads", ""},
        Value{"max-request-mib", "0"}, Value{"max-request-mib", "257"},
        Value{"max-request-mib", ""}, Value{"min-ping-interval", "-1"},
        Value{"slow-reader-timeout", "0"}, Value{"max-unsent-mib", "0"},
        Value{"min-ping-interval", ""}, Value{"door", "ajar"}, Value{"max-connections", "0"},
        Value{"max-connections-per-peer", "0"}, Value{"max-calls", "1000001"},
        Value{"drain-timeout", ""}, Value{"listen", ""}, Value{"kv-cache-mib", "0"},
        Value{"kv-cache-mib", "16777217"}, Value{"kv-cache-mib", "99999999999999999999"},
        Value{"expert-usage", "on"}, Value{"expert-metrics", "all"}, Value{"expert-trace", "all"},
        Value{"max-trace-mib", "0"}, Value{"max-trace-mib", "4"}, Value{"drain-timeout", "-1"},
        Value{"drain-timeout", "25h"}, Value{"drain-timeout", "inf"}, Value{"drain-timeout", "nan"},
        Value{"drain-timeout", "soon"}, Value{"step-timeout", "0.9"}, Value{"step-timeout", "25h"},
        Value{"log-level", "loud"}, Value{"log-format", "xml"}, Value{"log-rate", "0"},
        Value{"log-content", "maybe"}, Value{"log-rate", "1000001"}));

class AcceptedValueTest : public ::testing::TestWithParam<Value> {};

TEST_P(AcceptedValueTest, KeepsTheEdgesOfItsRange) {
  const auto& [option, value] = GetParam();
  const ServerConfig config = ParseOrDie({"--model=m", "--" + option + "=" + value});
  EXPECT_THAT(PrintConfig(config), HasSubstr(option + " = "));
}

INSTANTIATE_TEST_SUITE_P(
    EveryOption, AcceptedValueTest,
    ::testing::Values(
        Value{"model-name", "A-z_0.9"}, Value{"model-name", std::string(128, 'a')},
        Value{"listen", "[::1]:0"}, Value{"listen", "localhost:65535"},
        Value{"listen", "unix:/" + std::string(106, 'a')}, Value{"listen-mode", "660"},
        Value{"device", "cpu"}, Value{"device", "cuda:0,cuda:1"}, Value{"workers", "64"},
        Value{"threads", "1"}, Value{"threads", "1024"}, Value{"weights-dtype", "q8_0"},
        Value{"expert-dtype", "int4"}, Value{"activation-dtype", "bf16"},
        Value{"activation-dtype", "f32"}, Value{"kv-dtype", "auto"}, Value{"kv-dtype", "bf16"},
        Value{"kv-dtype", "f32"}, Value{"cuda-batch-invariant", "true"},
        Value{"cuda-batch-invariant", "false"}, Value{"max-batch-tokens", "1"},
        Value{"max-batch-tokens", "65536"}, Value{"max-sequences", "1"},
        Value{"max-sequences", "4096"}, Value{"max-queued-requests", "1"},
        Value{"max-queued-requests", "1000000"}, Value{"kv-cache-mib", "1"},
        Value{"kv-cache-mib", "16777216"}, Value{"kv-cache-mib", "auto"}, Value{"door", "off"},
        Value{"max-connections", "1000000"}, Value{"max-connections-per-peer", "1"},
        Value{"max-calls", "1"}, Value{"expert-usage", "off"}, Value{"expert-usage", "total"},
        Value{"expert-metrics", "full"}, Value{"expert-baseline", "usage.npy"},
        Value{"expert-trace", "none"}, Value{"expert-trace", "full"}, Value{"max-trace-mib", "1"},
        Value{"max-trace-mib", "3"}, Value{"drain-timeout", "0"}, Value{"drain-timeout", "24h"},
        Value{"step-timeout", "1s"}, Value{"log-level", "off"}, Value{"log-content", "true"},
        Value{"log-content", "false"}, Value{"log-format", "json"}, Value{"log-rate", "1000000"}));

TEST(ConfigTest, ReadsDurationsWithAndWithoutAUnit) {
  EXPECT_EQ(ParseOrDie({"--model=m", "--drain-timeout=500ms"}).drain_timeout,
            absl::Milliseconds(500));
  EXPECT_EQ(ParseOrDie({"--model=m", "--drain-timeout=2.5"}).drain_timeout, absl::Seconds(2.5));
}

TEST(ConfigTest, SplitsAnIpv6Address) {
  const ServerConfig config = ParseOrDie({"--model=m", "--listen=[::1]:7"});
  EXPECT_EQ(config.listen.host, "::1");
  EXPECT_EQ(config.listen.port, 7);
  EXPECT_EQ(config.listen.ToString(), "[::1]:7");
}

TEST(ConfigTest, RefusesUnknownAndRepeatedFlags) {
  EXPECT_EQ(ErrorOf({"--model=m", "--max-sequence=3"}),
            "unknown option --max-sequence; did you mean --max-sequences?");
  EXPECT_THAT(ErrorOf({"--model=m", "stray"}), HasSubstr("stray"));
  EXPECT_THAT(ErrorOf({"--model=m", "--threads=1", "--threads=2"}), HasSubstr("--threads"));
  EXPECT_THAT(ErrorOf({"--model=m", "--threads"}), HasSubstr("--threads"));
}

TEST(ConfigTest, RefusesUnknownAndRepeatedKeysOfTheFile) {
  const auto error = [](const std::string& text) {
    return ErrorOf({"--model=m", "--config=" + WriteFile(text)});
  };
  EXPECT_THAT(error("\nmax_sequences = 3\n"), HasSubstr("line 2: unknown key 'max_sequences'"));
  EXPECT_THAT(error("threads = 1\nthreads = 1\n"), HasSubstr("line 2: duplicate key 'threads'"));
  EXPECT_THAT(error("config = 'other.toml'\n"), HasSubstr("unknown key 'config'"));
}

TEST(ConfigTest, ListsVariablesThatNameNoOption) {
  const auto command_line = ParseCommandLine(
      {"--model=m"}, {{"PEERAGE_SERVICE_HOST", "1"}, {"PEERAGE_THREADS", "1"}, {"HOME", "/"}});
  ASSERT_TRUE(command_line.ok());
  EXPECT_THAT(command_line->unknown_variables, ElementsAre("PEERAGE_SERVICE_HOST"));
}

TEST(ConfigTest, RefusesAFileThatCannotBeRead) {
  EXPECT_THAT(ErrorOf({"--model=m", "--config=/nowhere.toml"}), HasSubstr("/nowhere.toml"));
  EXPECT_THAT(ErrorOf({"--model=m", "--config=" + ::testing::TempDir()}), HasSubstr("--config"));
}

TEST(ConfigTest, NeedsAModel) { EXPECT_THAT(ErrorOf({}), HasSubstr("--model")); }

TEST(ConfigTest, NamesTheModelAfterItsFileOrDirectory) {
  EXPECT_EQ(ParseOrDie({"--model=/a/b.gguf"}).model_name, "b");
  EXPECT_EQ(ParseOrDie({"--model=/a/b/"}).model_name, "b");
  EXPECT_EQ(ParseOrDie({"--model=/a/b/."}).model_name, "b");
  EXPECT_EQ(ParseOrDie({"--model=/a b/c.gguf", "--model-name=d"}).model_name, "d");
  EXPECT_THAT(ErrorOf({"--model=/a/b c.gguf"}), HasSubstr("--model-name"));
}

TEST(ConfigTest, PrintsAConfigurationThatResolvesToItself) {
  const auto first = ParseCommandLine(
      {"--model=/odd \"path\\with#all/m.gguf", "--print-config", "--kv-cache-mib=7",
       "--listen=[::1]:0", "--drain-timeout=1.5", "--step-timeout=90", "--device=cuda:0,cuda:1",
       "--threads=3", "--activation-dtype=f32", "--kv-dtype=bf16", "--cuda-batch-invariant"},
      {});
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(first->print_config);
  const std::string printed = PrintConfig(first->config);

  const ServerConfig second = ParseOrDie({"--config=" + WriteFile(printed)});

  EXPECT_EQ(PrintConfig(second), printed);
  EXPECT_EQ(second.model, first->config.model);
  EXPECT_EQ(second.drain_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(second.step_timeout, absl::Seconds(90));
  EXPECT_EQ(second.activation_dtype, "f32");
  EXPECT_EQ(second.kv_dtype, "bf16");
  EXPECT_TRUE(second.cuda_batch_invariant);
}

TEST(ConfigTest, ExplainsItselfWithoutAModel) {
  const auto help = ParseCommandLine({"--help"}, {});
  ASSERT_TRUE(help.ok() && help->print);
  EXPECT_THAT(*help->print, HasSubstr("--max-batch-tokens"));
  EXPECT_THAT(*help->print, HasSubstr("PEERAGE_MAX_SEQUENCES"));
  EXPECT_THAT(*help->print, HasSubstr("--listen ADDRESS "));
  EXPECT_THAT(*help->print, HasSubstr("(default: 127.0.0.1:50051)"));
  EXPECT_THAT(*help->print, HasSubstr("--log-content [BOOL] "));
  EXPECT_THAT(*help->print, Not(HasSubstr("TEXT")));
  for (const absl::string_view line : absl::StrSplit(*help->print, '\n')) {
    EXPECT_LE(line.size(), 100u) << line;
  }

  const auto version = ParseCommandLine({"--version"}, {});
  ASSERT_TRUE(version.ok() && version->print);
  EXPECT_EQ(*version->print, std::string("peerage-server ") + kVersion + "\n");
}

}  // namespace
}  // namespace peerage
