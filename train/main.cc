// The `peerage-train` program: trains a model that peerage-server serves. Exit codes: 0 done, 1 it
// failed, 2 wrong usage or a wrong config, 130 and 143 interrupted (the state is saved).
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/command_line/help_formatter.h"
#include "base/command_line/interruption.h"
#include "base/command_line/options.h"
#include "base/command_line/parse.h"
#include "base/command_line/standard_output.h"
#include "train/config/run_config.h"
#include "train/training/train.h"
#include "train/training/training_run.h"

namespace peerage::train {
namespace {

constexpr int kSignalled = 128;  // and the signal's number, as in shells

// Tensors come and go with every operation. What the C library gives back to the system meanwhile
// is cleared page by page when it comes again: a tenth of the time of a step of SmolLM2-135M.
void KeepFreedMemory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
}

struct Flags {
  std::string config;
  RunOverrides overrides;
  bool resume = false;
};

void AddFlags(CLI::App& program, Flags& flags) {
  program.add_option("--config", flags.config, "The run's config (docs/training.md)")
      ->required()
      ->type_name("FILE");
  program.add_option("--from", flags.overrides.from, "In place of model.from")->type_name("PATH");
  program.add_option("--out", flags.overrides.out, "In place of run.out")->type_name("DIR");
  AddOptionalNumber(program, "--steps", flags.overrides.steps, "In place of schedule.steps",
                    {.least = 1, .most = uint64_t{1} << 40});
  program.add_flag("--routers-only", flags.overrides.routers_only,
                   "Train only what decides which experts are met");
  program.add_flag("--resume", flags.resume, "Go on from the newest checkpoint in run.out");
}

absl::Status Run(const RunConfig& config, bool resume) {
  absl::StatusOr<std::unique_ptr<TrainingRun>> run = TrainingRun::Open(config, resume);
  if (!run.ok()) return run.status();
  std::cerr << (*run)->TextsInWords() << "; steps of " << (*run)->tokens_of_step() << " tokens"
            << (resume ? ", going on after step " : "")
            << (resume ? std::to_string((*run)->steps_done()) : "") << "\n";
  Interruption::Watch();
  const TrainHooks hooks{.say = [](const std::string& line) { std::cerr << line << std::endl; },
                         .stopped = [] { return Interruption::signal() != 0; }};
  const absl::Status status = Train(**run, hooks);
  if (status.ok()) std::cout << "the model is in " << config.run.out << "\n";
  return status;
}

// Returns the exit code.
int Execute(const Flags& flags) {
  const absl::StatusOr<RunConfig> config = ReadRunConfig(flags.config, flags.overrides);
  const absl::Status status = config.ok() ? Run(*config, flags.resume) : config.status();
  if (status.ok()) return 0;
  std::cerr << "peerage-train: " << status.message() << "\n";
  if (!config.ok()) return kWrongUsage;
  // A failure while it saves what was interrupted is a failure: nothing may be there to go on from.
  return absl::IsCancelled(status) ? kSignalled + Interruption::signal() : kFailed;
}

int Main(int argc, char** argv) {
  CLI::App program("Trains models of PEER and BAM layers.", "peerage-train");
  program.formatter(std::make_shared<HelpFormatter>());
  program.set_version_flag("--version", "peerage-train " PEERAGE_VERSION);
  program.footer(
      "Examples:\n"
      "  peerage-train --config run.toml\n"
      "  peerage-train --config run.toml --resume\n"
      "Exit codes: 0 done; 1 it failed; 2 wrong usage or a wrong config; 130 and 143 interrupted, "
      "with the state saved.");
  KeepFreedMemory();
  Flags flags;
  AddFlags(program, flags);
  if (const std::optional<int> done = ParseCommandLine(program, argc, argv)) return *done;
  return Execute(flags);
}

}  // namespace
}  // namespace peerage::train

int main(int argc, char** argv) {
  peerage::StandardOutput output;
  return output.Finish("peerage-train", peerage::train::Main(argc, argv));
}
