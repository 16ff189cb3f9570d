// What a run says of files and values that are wrong, each in one line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <string>

#include "tests/train/run_fixture.h"

namespace peerage::train {
namespace {

using testing::HasSubstr;

std::string Message(const absl::Status& status) {
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos) << status;
  return std::string(status.message());
}

TEST(RunErrorsTest, AModelThatIsNotThere) {
  RunFixture fixture("no/such/model");
  EXPECT_THAT(Message(fixture.OpenError()), HasSubstr("no/such/model"));
}

TEST(RunErrorsTest, ATextThatIsNotThere) {
  RunFixture fixture;
  fixture["data"] = "[[data.source]]\nfiles = \"no/such.txt\"\n";
  EXPECT_THAT(Message(fixture.OpenError()), HasSubstr("no/such.txt: no such file or directory"));
}

TEST(RunErrorsTest, TooLittleText) {
  RunFixture fixture;
  const std::string path = fixture.folder().Write("short.txt", "abc");
  fixture["data"] = "sequence_length = 16\n[[data.source]]\nfiles = \"" + path + "\"\n";
  EXPECT_THAT(Message(fixture.OpenError()),
              HasSubstr("short.txt: 4 tokens of text; one sequence needs 17"));
}

TEST(RunErrorsTest, TextThatIsNoUtf8) {
  RunFixture fixture;
  const std::string path = fixture.folder().Write("bad.txt", "abc\xff" + std::string(99, 'a'));
  fixture["data"] = "sequence_length = 16\n[[data.source]]\nfiles = \"" + path + "\"\n";
  EXPECT_THAT(Message(fixture.OpenError()), HasSubstr("bad.txt: "));
}

TEST(RunErrorsTest, SequencesBeyondTheContext) {
  RunFixture fixture;
  fixture["data"] = "sequence_length = 100000\n" + fixture["data"].substr(21);
  EXPECT_THAT(Message(fixture.OpenError()),
              HasSubstr("data.sequence_length is 100000; the model has max_position_embeddings"));
}

TEST(RunErrorsTest, APatternThatMatchesNothing) {
  RunFixture fixture;
  fixture["model"] += "freeze = \"model.layers.*.mlp.**\"\n";
  EXPECT_THAT(Message(fixture.OpenError()),
              HasSubstr("model.freeze: \"model.layers.*.mlp.**\" matches no tensor of the model, "
                        "such as model.embed_tokens.weight"));
}

TEST(RunErrorsTest, NothingLeftToTrain) {
  RunFixture fixture;
  fixture["model"] += "freeze = \"**\"\n";
  EXPECT_EQ(Message(fixture.OpenError()), "model.freeze: nothing is left to train");
}

TEST(RunErrorsTest, AModelThatNoMemoryHolds) {
  RunFixture fixture;
  fixture.MakeNew(R"({"model_type": "peerage", "format_version": 1, "vocab_size": 288,
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 64, "tie_word_embeddings": true,
    "ffn": [{"kind": "peer", "num_experts": 1073741824, "heads": 1, "top_k": 4, "key_dim": 16}]})");
  EXPECT_THAT(Message(fixture.OpenError()),
              HasSubstr("no memory for the model and what its optimiser keeps: LibTorch: "));
}

TEST(RunErrorsTest, AnOutThatHoldsAModel) {
  RunFixture fixture;
  fixture["run"] = "out = \"tests/golden/models/peerage_sequential\"\n";
  EXPECT_THAT(Message(fixture.OpenError()), HasSubstr("is there already"));
}

TEST(RunErrorsTest, ALayoutThatCannotBeWritten) {
  RunFixture fixture(std::string(kGoldenModels) + "layout_lucidrains_pre_rmsnorm");
  EXPECT_THAT(Message(fixture.OpenError()), HasSubstr("layer 1: a PEER layer of layout"));
}

TEST(RunErrorsTest, ALossThatIsNoNumberLeavesTheCheckpoint) {
  RunFixture fixture;
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  EXPECT_EQ(TrainUntil(*run, 2).code(), absl::StatusCode::kCancelled);
  run->model().Values("model.norm.weight")[0] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Message(TrainUntil(*run, -1)),
              testing::MatchesRegex("step 3: the loss is .*nan.*; the last checkpoint is "
                                    ".*step-0000000000002\\.safetensors"));
}

TEST(RunErrorsTest, APictureThatCannotBeDrawnLeavesTheCheckpointOfItsStep) {
  RunFixture fixture;
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  std::filesystem::create_directories(fixture.out() + "/training.png/in the way");
  EXPECT_THAT(Message(TrainUntil(*run, -1)),
              testing::MatchesRegex("after step 2: .*training\\.png.*; the last checkpoint is "
                                    ".*step-0000000000002\\.safetensors"));
}

TEST(RunErrorsTest, AWeightThatTheDtypeCannotHold) {
  RunFixture fixture;
  fixture["run"] += "dtype = \"f16\"\n";
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  run->model().Values("model.embed_tokens.weight")[287 * 32] = 1e5f;
  fixture["schedule"] = "steps = 1\n";
  EXPECT_THAT(Message(run->Finish()), HasSubstr("tensor \"model.embed_tokens.weight\""));
}

}  // namespace
}  // namespace peerage::train
