#include "client/commands/bench_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/temporary_directory.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<BenchPlan> Read(const std::string& line) {
  CLI::App app;
  const BenchOptions options(app);
  try {
    app.parse(line);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return options.ReadPlan();
}

TEST(BenchOptionsTest, AreVllmsByDefault) {
  const auto plan = Read("");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->num_prompts, 1000);
  EXPECT_EQ(plan->random.input.least, 1024);
  EXPECT_EQ(plan->random.input.most, 1024);
  EXPECT_EQ(plan->random.output.most, 128);
  EXPECT_THAT(plan->percents, ElementsAre(50, 90, 99));
  EXPECT_THAT(plan->shown, ElementsAre(Latency::kTimeToFirstToken, Latency::kTimePerOutputToken,
                                       Latency::kInterToken));
  ASSERT_EQ(plan->loads.size(), 1);
  EXPECT_FALSE(plan->loads[0].open_loop());
  EXPECT_TRUE(plan->generate.stopping().ignore_eos());
  EXPECT_THAT(Read("--mode score")->shown, ElementsAre(Latency::kEndToEnd));
  EXPECT_FALSE(Read("--no-ignore-eos")->generate.stopping().ignore_eos());
}

TEST(BenchOptionsTest, MakeARunOfEachLoad) {
  const auto rates = Read("--request-rate 1,2.5 --max-concurrency 8 --burstiness 0.5");
  ASSERT_TRUE(rates.ok()) << rates.status();
  ASSERT_EQ(rates->loads.size(), 2);
  EXPECT_EQ(rates->loads[1].request_rate, 2.5);
  EXPECT_EQ(rates->loads[1].max_concurrency, 8);
  EXPECT_EQ(rates->loads[1].burstiness, 0.5);
  const auto users = Read("--max-concurrency 1,8,64");
  ASSERT_EQ(users->loads.size(), 3);
  EXPECT_EQ(users->loads[2].max_concurrency, 64);
  EXPECT_TRUE(std::isinf(users->loads[2].request_rate));
  const auto ramp = Read("--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 9");
  EXPECT_EQ(ramp->loads[0].ramp_up->end_rps, 9);
  EXPECT_FALSE(ramp->loads[0].ramp_up->exponential);
}

TEST(BenchOptionsTest, ReadBounds) {
  const auto plan = Read("--goodput ttft:500 tpot:30 e2el:5000.5");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->goodput.ttft_ms, 500);
  EXPECT_EQ(plan->goodput.tpot_ms, 30);
  EXPECT_EQ(plan->goodput.e2el_ms, 5000.5);
}

TEST(BenchOptionsTest, NameWhatIsWrong) {
  const struct {
    const char* line;
    const char* message;
  } cases[] = {
      {"--request-rate 0", "--request-rate is \"0\", not a number from 0.001 to 100000"},
      {"--request-rate 1,", "--request-rate is \"\""},
      {"--request-rate 1,inf", "--request-rate is \"inf\""},
      {"--request-rate nan", "--request-rate is \"nan\""},
      {"--max-concurrency 0", "--max-concurrency is \"0\", not a whole number from 1 to 100000"},
      {"--request-rate 1,2 --max-concurrency 1,2", "--request-rate and --max-concurrency both"},
      {"--burstiness 0", "--burstiness is \"0\""},
      {"--num-prompts 0", "--num-prompts is \"0\""},
      {"--random-range-ratio 1", "--random-range-ratio is \"1\""},
      {"--random-input-len 0", "--random-input-len is too small"},
      {"--random-input-len 3 --random-range-ratio 0.9", "--random-input-len is too small"},
      {"--random-output-len 0", "--random-output-len is \"0\""},
      {"--goodput ttft", "--goodput ttft is \"\""},
      {"--goodput ttft:-1", "--goodput ttft is \"-1\""},
      {"--goodput itl:5", "--goodput is \"itl:5\""},
      {"--goodput ttft:1 ttft:2", "--goodput has ttft twice"},
      {"--mode score --goodput tpot:1", "--goodput tpot is not for scores"},
      {"--percentile-metrics ttft,x", "--percentile-metrics is \"x\", not one of ttft, tpot"},
      {"--metric-percentiles 101", "--metric-percentiles is \"101\""},
      {"--mode x", "--mode is \"x\", not one of generate, score"},
      {"--dataset-name custom", "--dataset-name custom needs --dataset-path"},
      {"--dataset-path a.jsonl", "--dataset-path needs --dataset-name custom"},
      {"--ramp-up-strategy linear", "--ramp-up-strategy needs --ramp-up-start-rps"},
      {"--ramp-up-start-rps 1", "need --ramp-up-strategy"},
      {"--ramp-up-strategy linear --ramp-up-start-rps 2 --ramp-up-end-rps 1",
       "--ramp-up-start-rps is above --ramp-up-end-rps"},
      {"--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 2 --request-rate 3",
       "--ramp-up-strategy stands for --request-rate"},
      {"--score-continuations 1025", "--score-continuations is \"1025\""},
  };
  for (const auto& [line, message] : cases) {
    const absl::Status status = Read(line).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << line;
  }
}

class BenchDatasetTest : public testing::Test {
 protected:
  std::string FileOf(const std::string& text) {
    const std::string path = absl::StrCat(folder_.path(), "/lines.jsonl");
    std::ofstream(path) << text;
    return path;
  }

  TemporaryDirectory folder_;
};

TEST_F(BenchDatasetTest, AsksWhatItsLinesSayOverAndOver) {
  const std::string path = FileOf(
      "{\"prompt\": \"a text\", \"output_len\": 7}\n\n{\"prompt\": [1, 2, 3]}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}\n");
  const auto plan = Read(
      absl::StrCat("--dataset-name custom --custom-output-len 9 --seed 40 --dataset-path ", path));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->num_prompts, 3);
  const Workload& lines = *plan->dataset;
  EXPECT_EQ(lines.Generate(0).prompt().text(), "a text");
  EXPECT_EQ(lines.Generate(0).stopping().max_tokens(), 7);
  EXPECT_EQ(lines.Generate(1).prompt().token_ids().ids_size(), 3);
  EXPECT_EQ(lines.Generate(1).stopping().max_tokens(), 9);
  EXPECT_EQ(lines.Generate(2).prompt().chat().messages(0).content(), "Hello");
  EXPECT_EQ(lines.Generate(3).prompt().text(), "a text");
  EXPECT_EQ(lines.Generate(3).sampling().seed(), 43);
  EXPECT_FALSE(lines.Generate(0).stopping().ignore_eos());
}

TEST_F(BenchDatasetTest, ScoresWhatItsLinesSay) {
  const std::string path = FileOf("{\"context\": \"one\", \"continuations\": [\"two\", [4, 5]]}\n");
  const auto plan = Read(absl::StrCat("--mode score --dataset-name custom --dataset-path ", path));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const v1::ScoreRequest request = plan->dataset->Score(5);
  EXPECT_EQ(request.context().text(), "one");
  ASSERT_EQ(request.continuations_size(), 2);
  EXPECT_EQ(request.continuations(0).text(), "two");
  EXPECT_EQ(request.continuations(1).token_ids().ids(1), 5);
}

TEST_F(BenchDatasetTest, NamesTheLineThatIsWrong) {
  const struct {
    const char* mode;
    const char* line;
    const char* message;
  } cases[] = {
      {"generate", "{\"prompt\": 5}", "prompt is neither a text nor a list of token ids"},
      {"generate", "{}", "one of prompt and messages is needed"},
      {"generate", "{\"prompt\": \"a\", \"x\": 1}", "x"},
      {"generate", "{\"prompt\": \"a\", \"output_len\": 0}", "output_len"},
      {"generate", "a text", "lines.jsonl"},
      {"score", "{\"continuations\": [\"a\"]}", "context is missing"},
      {"score", "{\"context\": \"a\", \"continuations\": []}", "continuations must be a list"},
      {"score", "{\"context\": \"a\", \"continuations\": [1]}", "continuations[0] is neither"},
  };
  for (const auto& [mode, line, message] : cases) {
    const std::string path = FileOf(absl::StrCat("\n", line, "\n"));
    const absl::Status status =
        Read(absl::StrCat("--mode ", mode, " --dataset-name custom --dataset-path ", path))
            .status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("--dataset-path")) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr("line 2")) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << line;
  }
}

}  // namespace
}  // namespace peerage::client
