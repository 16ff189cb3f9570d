#include "tests/train/run_fixture.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "train/training/train.h"

namespace peerage::train {

RunFixture::RunFixture(const std::string& model) {
  sections_["model"] = "from = \"" + model + "\"\n";
  sections_["data"] =
      "sequence_length = 16\n[[data.source]]\nfiles = \"" + std::string(kTexts) + "\"\n";
  sections_["optimizer"] = "learning_rate = 1e-3\nbatch_sequences = 2\naccumulate = 2\n";
  sections_["schedule"] = "steps = 6\nwarmup_steps = 2\n";
  sections_["run"] = "out = \"" + out() + "\"\nthreads = 1\ncheckpoint_every = 2\n";
}

void RunFixture::MakeNew(const std::string& config) {
  sections_["model"] = "config = \"" + folder_.Write("config.json", config) + "\"\ntokenizer = \"" +
                       std::string(kGoldenModels) + "peerage_sequential\"\nseed = 3\n";
}

absl::StatusOr<RunConfig> RunFixture::Config(const RunOverrides& overrides) const {
  std::string text;
  for (const auto& [name, lines] : sections_) text += "[" + name + "]\n" + lines;
  return ReadRunConfig(folder_.Write("run.toml", text), overrides);
}

absl::Status RunFixture::OpenError(bool resume) const {
  const absl::StatusOr<RunConfig> config = Config();
  if (!config.ok()) return config.status();
  return TrainingRun::Open(*config, resume).status();
}

std::unique_ptr<TrainingRun> RunFixture::OpenOrDie(bool resume) const {
  const absl::StatusOr<RunConfig> config = Config();
  absl::StatusOr<std::unique_ptr<TrainingRun>> run = absl::UnknownError("not opened");
  if (config.ok()) run = TrainingRun::Open(*config, resume);
  if (!config.ok() || !run.ok()) {
    std::cerr << config.status() << "; " << run.status() << std::endl;
    std::abort();
  }
  return *std::move(run);
}

absl::Status TrainUntil(TrainingRun& run, int64_t stop_after) {
  absl::Time now = absl::UnixEpoch();
  return Train(run, {.now = [&] { return now += absl::Seconds(1); },
                     .say = [](const std::string&) {},
                     .stopped = [&] { return run.steps_done() == stop_after; }});
}

}  // namespace peerage::train
