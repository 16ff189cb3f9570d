// A run that was stopped and goes on ends with the same bits as one that was not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/train/run_fixture.h"

namespace peerage::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Batch norms remember batches, so this model has all kinds of state.
constexpr char kModel[] = "tests/golden/models/layout_ostix360_glu";

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

std::string Weights(const RunFixture& fixture) {
  return BytesOf(fixture.out() + "/model.safetensors");
}

// Two files of different shares, so that the order of sequences has something to remember.
void TakeTwoSources(RunFixture& fixture) {
  fixture["data"] =
      "sequence_length = 16\n"
      "[[data.source]]\nfiles = \"tests/golden/texts/prose_harbour.txt\"\nweight = 2\n"
      "[[data.source]]\nfiles = \"tests/golden/texts/code_cpp.txt\"\nweight = 1\n";
  fixture["schedule"] = "steps = 9\nwarmup_steps = 2\n";
}

// How tables learn: all rows, or those that were picked with a variance each.
class TrainingResumeBitsTest : public testing::TestWithParam<const char*> {
 protected:
  void Prepare(RunFixture& fixture) const {
    TakeTwoSources(fixture);
    fixture["optimizer"] += GetParam();
  }
};

TEST_P(TrainingResumeBitsTest, EndsWithTheSameBitsWhereverItWasStopped) {
  RunFixture whole(kModel);
  Prepare(whole);
  ASSERT_TRUE(TrainUntil(*whole.OpenOrDie(), -1).ok());
  const std::string expected = Weights(whole);
  ASSERT_GT(expected.size(), 1000u);
  for (const int64_t stop : {0, 1, 2, 3, 5, 8}) {
    SCOPED_TRACE(stop);
    RunFixture fixture(kModel);
    Prepare(fixture);
    const absl::Status stopped = TrainUntil(*fixture.OpenOrDie(), stop);
    EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled) << stopped;
    EXPECT_THAT(std::string(stopped.message()), HasSubstr("--resume goes on"));
    ASSERT_TRUE(TrainUntil(*fixture.OpenOrDie(/*resume=*/true), -1).ok());
    EXPECT_EQ(Weights(fixture), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingResumeBitsTest,
                         testing::Values("rows = \"all\"\n", "rows = \"picked\"\n",
                                         "rows = \"picked\"\nvariance = \"row\"\n"));

TEST(TrainingResumeTest, IsStoppedWhileItReadsHeldOutTextAtItsEnd) {
  RunFixture whole(kModel), fixture(kModel);
  ASSERT_TRUE(TrainUntil(*whole.OpenOrDie(), -1).ok());
  fixture["data"] = "held_out = [\"tests/golden/texts/code_cpp.txt\"]\n" + fixture["data"];

  const absl::Status stopped = TrainUntil(*fixture.OpenOrDie(), 6);

  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled) << stopped;
  EXPECT_EQ(stopped.message(), "stopped after step 6; --resume goes on from there");
  EXPECT_THAT(BytesOf(fixture.out() + "/training.jsonl"), testing::Not(HasSubstr("held_out")));
  ASSERT_TRUE(TrainUntil(*fixture.OpenOrDie(/*resume=*/true), -1).ok());
  EXPECT_THAT(BytesOf(fixture.out() + "/training.jsonl"), HasSubstr("held_out"));
  EXPECT_EQ(Weights(fixture), Weights(whole));
}

TEST(TrainingResumeTest, GoesOnFromTheLastCheckpointWhenItWasKilled) {
  RunFixture whole(kModel), fixture(kModel);
  ASSERT_TRUE(TrainUntil(*whole.OpenOrDie(), -1).ok());
  {
    // Steps 4 and 5 are lost: the run is gone without a word.
    const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
    for (int step = 0; step < 5; ++step) {
      ASSERT_TRUE(run->Step().ok());
      if (run->steps_done() == 3) {
        ASSERT_TRUE(run->SaveState().ok());
      }
    }
  }
  // So is what a kill in the middle of writing leaves.
  fixture.folder().Write("out/checkpoints/step-0000000000005.safetensors.partial", "half");
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie(/*resume=*/true);
  EXPECT_EQ(run->steps_done(), 3);
  ASSERT_TRUE(TrainUntil(*run, -1).ok());
  EXPECT_EQ(Weights(fixture), Weights(whole));
}

TEST(TrainingResumeTest, KeepsTwoCheckpointsAndNoneAtTheEnd) {
  RunFixture fixture;
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  EXPECT_EQ(TrainUntil(*run, 5).code(), absl::StatusCode::kCancelled);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fixture.out() + "/checkpoints")) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("step-0000000000004.safetensors",
                                                   "step-0000000000005.safetensors"));
  ASSERT_TRUE(TrainUntil(*run, -1).ok());
  EXPECT_FALSE(fs::exists(fixture.out() + "/checkpoints"));
  EXPECT_TRUE(fs::exists(fixture.out() + "/config.json"));
}

TEST(TrainingResumeTest, CurvesHaveEveryStepOnce) {
  RunFixture fixture;
  fixture["run"] += "progress_every = 1\n";
  {
    const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
    EXPECT_EQ(TrainUntil(*run, 5).code(), absl::StatusCode::kCancelled);
  }
  fs::remove(fixture.out() + "/checkpoints/step-0000000000005.safetensors");
  ASSERT_TRUE(TrainUntil(*fixture.OpenOrDie(/*resume=*/true), -1).ok());
  std::ifstream file(fixture.out() + "/training.jsonl");
  std::vector<std::string> steps;
  for (std::string line; std::getline(file, line);) steps.push_back(line.substr(0, 10));
  EXPECT_THAT(steps, testing::ElementsAre("{\"step\":1,", "{\"step\":2,", "{\"step\":3,",
                                          "{\"step\":4,", "{\"step\":5,", "{\"step\":6,"));
}

class ResumeRefusalTest : public testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(TrainUntil(*fixture_.OpenOrDie(), 3).code(), absl::StatusCode::kCancelled);
  }

  RunFixture fixture_;
};

TEST_F(ResumeRefusalTest, NeedsToBeAskedFor) {
  EXPECT_THAT(std::string(fixture_.OpenError().message()),
              HasSubstr("step-0000000000003.safetensors: is there already; --resume goes on"));
}

TEST_F(ResumeRefusalTest, NamesWhatIsOtherThanItWas) {
  fixture_["optimizer"] = "learning_rate = 2e-3\nbatch_sequences = 2\naccumulate = 2\n";
  EXPECT_THAT(std::string(fixture_.OpenError(/*resume=*/true).message()),
              HasSubstr("optimizer.learning_rate was 0.001 and is 0.002 now"));
}

TEST_F(ResumeRefusalTest, NamesOtherTexts) {
  const std::string text = fixture_.folder().Write("text.txt", std::string(400, 'a'));
  std::string& data = fixture_["data"];
  data = "sequence_length = 16\n[[data.source]]\nfiles = \"" + text + "\"\n";
  EXPECT_THAT(std::string(fixture_.OpenError(/*resume=*/true).message()), HasSubstr("data.source"));
}

TEST_F(ResumeRefusalTest, RefusesACutCheckpoint) {
  const std::string path = fixture_.out() + "/checkpoints/step-0000000000003.safetensors";
  const std::string bytes = BytesOf(path);
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  EXPECT_THAT(std::string(fixture_.OpenError(/*resume=*/true).message()), HasSubstr(path));
}

TEST(ResumeWithoutCheckpointTest, IsAnError) {
  EXPECT_THAT(std::string(RunFixture().OpenError(/*resume=*/true).message()),
              HasSubstr("no checkpoint to go on from"));
}

}  // namespace
}  // namespace peerage::train
