#include "train/config/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/train/run_fixture.h"

namespace peerage::train {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

std::string ErrorOf(const RunFixture& fixture, const RunOverrides& overrides = {}) {
  return std::string(fixture.Config(overrides).status().message());
}

TEST(RunConfigTest, HasDefaults) {
  const absl::StatusOr<RunConfig> config = RunFixture().Config();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->optimizer.beta2, 0.95);
  EXPECT_EQ(config->optimizer.clip, 1);
  EXPECT_EQ(config->schedule.kind, ScheduleKind::kCosine);
  EXPECT_EQ(config->run.compute, ComputeType::kF32);
  EXPECT_EQ(config->run.dtype, TensorType::kF32);
  EXPECT_EQ(config->data.text_key, "text");
}

TEST(RunConfigTest, ReadsGroupsAndSources) {
  RunFixture fixture;
  fixture["data"] =
      "[[data.source]]\nfiles = [\"a.txt\", \"b.jsonl\"]\nweight = 0.5\n"
      "[[data.source]]\nfiles = \"c\"\nweight = 1\n";
  fixture["optimizer"] +=
      "[[optimizer.group]]\ntensors = [\"**.router.**\"]\nlearning_rate = 1e-4\nweight_decay = 0\n";
  const absl::StatusOr<RunConfig> config = fixture.Config();
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->data.sources.size(), 2u);
  EXPECT_THAT(config->data.sources[0].files, testing::ElementsAre("a.txt", "b.jsonl"));
  EXPECT_EQ(config->data.sources[0].weight, 0.5);
  ASSERT_EQ(config->optimizer.groups.size(), 1u);
  EXPECT_EQ(config->optimizer.groups[0].learning_rate, 1e-4);
  EXPECT_EQ(config->optimizer.groups[0].weight_decay, 0);
}

TEST(RunConfigTest, CommandLineCounts) {
  const absl::StatusOr<RunConfig> config =
      RunFixture().Config({.from = "other", .out = "there", .steps = 9, .routers_only = true});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.from, "other");
  EXPECT_EQ(config->run.out, "there");
  EXPECT_EQ(config->schedule.steps, 9);
  EXPECT_TRUE(config->model.routers_only);
}

// A section whose lines are wrong, and the end of what is said: line and key, and what is right.
struct WrongConfig {
  const char* section;
  const char* lines;
  const char* error;
};

class WrongConfigTest : public testing::TestWithParam<WrongConfig> {};

TEST_P(WrongConfigTest, IsRefusedInOneLine) {
  RunFixture fixture;
  fixture[GetParam().section] = GetParam().lines;
  const std::string error = ErrorOf(fixture);
  EXPECT_THAT(error, HasSubstr("run.toml:"));
  EXPECT_THAT(error, EndsWith(GetParam().error));
  EXPECT_EQ(error.find('\n'), error.npos);
}

// Sections stand in the order of their names: data is first, and its lines are those of the file.
INSTANTIATE_TEST_SUITE_P(
    All, WrongConfigTest,
    testing::Values(
        WrongConfig{"data", "sequence_lenght = 3\n[[data.source]]\nfiles = \"a\"\n",
                    "run.toml:2: data.sequence_lenght is not a known key; did you mean "
                    "sequence_length?"},
        WrongConfig{"data", "sequence_length = 0\n[[data.source]]\nfiles = \"a\"\n",
                    "run.toml:2: data.sequence_length is 0; it takes an integer within 1..1048576"},
        WrongConfig{"data", "sequence_length = 1.5\n[[data.source]]\nfiles = \"a\"\n",
                    "run.toml:2: data.sequence_length is 1.5; it takes an integer within "
                    "1..1048576"},
        WrongConfig{"data", "text_key = 3\n[[data.source]]\nfiles = \"a\"\n",
                    "run.toml:2: data.text_key is 3; it takes a string"},
        WrongConfig{"data", "[[data.source]]\nfiles = [1]\n",
                    "run.toml:3: data.source[0].files holds 1; it takes a list of strings"},
        WrongConfig{"data", "[[data.source]]\n",
                    "run.toml:2: data.source[0].files is missing: text or .jsonl files"},
        WrongConfig{"data", "[[data.source]]\nfiles = \"a\"\nweight = 0\n",
                    "run.toml:4: data.source[0].weight is 0; it takes a number above 0 to 1e+06"},
        WrongConfig{"data",
                    "[[data.source]]\nfiles = \"a\"\nweight = 1\n[[data.source]]\nfiles = \"b\"\n",
                    "run.toml:5: data.source[1].weight is missing: either all sources have one, "
                    "or none"},
        WrongConfig{"data", "", "data.source is missing: [[data.source]] with files"},
        WrongConfig{"data", "seed = 2026-11-30\n",
                    "run.toml:2: holds a date or a time, which no key here takes"},
        WrongConfig{"model", "",
                    "model.from is missing: a model to go on with (or, of a new one, config and "
                    "tokenizer)"},
        WrongConfig{"model", "from = \"a\"\nseed = 3\n",
                    "model.seed is of a new model, but model.from is there too"},
        WrongConfig{"model", "config = \"a\"\n", "model.tokenizer is missing; it takes a string"},
        WrongConfig{"model", "from = \"a\"\nfreeze = \"a b\"\n",
                    "model.freeze holds \"a b\", which is no pattern of tensor names "
                    "(model.layers.*.ffn.peer.**)"},
        WrongConfig{"optimizer", "",
                    "optimizer.learning_rate is missing; it takes a number above 0 to 100"},
        WrongConfig{"optimizer", "learning_rate = \"high\"\n",
                    "optimizer.learning_rate is \"high\"; it takes a number above 0 to 100"},
        WrongConfig{"optimizer", "learning_rate = nan\n",
                    "optimizer.learning_rate is nan; it takes a number above 0 to 100"},
        WrongConfig{"optimizer", "learning_rate = 1\nrows = \"few\"\n",
                    "optimizer.rows is \"few\", not all or picked"},
        WrongConfig{"optimizer", "learning_rate = 1\nvariance = \"row\"\n",
                    "optimizer.variance is for rows = \"picked\" alone"},
        WrongConfig{"optimizer", "learning_rate = 1\nbeta1 = 1\n",
                    "optimizer.beta1 is 1; it takes a number from 0 to 0.999999"},
        WrongConfig{"optimizer", "learning_rate = 1\ngroup = 3\n",
                    "optimizer.group is 3; it takes tables: [[optimizer.group]]"},
        WrongConfig{"optimizer", "learning_rate = 1\nrouting = \"hard\"\n",
                    "optimizer.routing is \"hard\", not served or soft"},
        WrongConfig{"schedule", "steps = 5\nkind = \"linear\"\n",
                    "schedule.kind is \"linear\", not constant, cosine or trapezoid"},
        WrongConfig{"schedule", "steps = 5\nwarmup_steps = 6\n",
                    "schedule.warmup_steps is 6; it takes an integer within 0..5"},
        WrongConfig{"schedule", "steps = 5\ndecay_steps = 2\n",
                    "schedule.decay_steps is for kind = \"trapezoid\" alone"},
        WrongConfig{"schedule", "steps = 5\nkind = \"trapezoid\"\n",
                    "schedule.decay_steps is missing; it takes an integer within 0..5"},
        WrongConfig{"run", "out = 3\n", "run.out is 3; it takes a string"},
        WrongConfig{"run", "out = \"\"\n", "run.out is empty"},
        WrongConfig{"run", "out = \"a\"\ncompute = \"f16\"\n",
                    "run.compute is \"f16\", not f32 or bf16"},
        WrongConfig{"runs", "out = \"a\"\n", "runs is not a known key; did you mean run?"}));

TEST(RunConfigTest, NamesWhereTomlIsWrong) {
  RunFixture fixture;
  fixture["data"] = "seed = = 3\n";
  EXPECT_THAT(ErrorOf(fixture), HasSubstr("run.toml:2: "));
  fixture["data"] = "seed = 3\nseed = 4\n";
  EXPECT_THAT(ErrorOf(fixture), HasSubstr("run.toml:3: "));
}

TEST(RunConfigTest, NamesAFileThatIsNotThere) {
  EXPECT_THAT(std::string(ReadRunConfig("no/such.toml").status().message()),
              HasSubstr("no/such.toml"));
}

}  // namespace
}  // namespace peerage::train
