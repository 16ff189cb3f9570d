// The `peerage-model` program: work on model files, without a server. Exit codes: 0 done, 1 it
// failed or output was lost, 2 wrong usage, 130 and 143 interrupted.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "base/command_line/help_formatter.h"
#include "base/command_line/interruption.h"
#include "base/command_line/parse.h"
#include "base/command_line/standard_output.h"
#include "model/transform/commands/command.h"

namespace peerage::transform {
namespace {

constexpr int kSignalled = 128;  // and the signal's number, as in shells

// Returns the exit code.
int Execute(Command& command) {
  absl::Status status = command.Check();
  const int if_not_ok = status.ok() ? kFailed : kWrongUsage;
  if (status.ok()) status = command.Run();
  if (status.ok()) return 0;
  std::cerr << "peerage-model: " << status.message() << "\n";
  return Interruption::signal() == 0 ? if_not_ok : kSignalled + Interruption::signal();
}

int Main(int argc, char** argv) {
  CLI::App program("Looks at model files and changes them.", "peerage-model");
  program.formatter(std::make_shared<HelpFormatter>());
  program.require_subcommand(1);
  program.set_version_flag("--version", "peerage-model " PEERAGE_VERSION);
  program.footer(
      "`peerage-model COMMAND --help` has a command's options and examples.\n"
      "Exit codes: 0 done; 1 it failed, or output was lost; 2 wrong usage; 130 and 143 "
      "interrupted; 141 nobody read the output any more.");
  std::vector<std::unique_ptr<Command>> commands;
  for (auto add : {AddInspect, AddConvert, AddUpcycle}) commands.push_back(add(program));
  if (const std::optional<int> done = ParseCommandLine(program, argc, argv)) return *done;
  for (const std::unique_ptr<Command>& command : commands) {
    if (command->chosen()) return Execute(*command);
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace peerage::transform

int main(int argc, char** argv) {
  peerage::StandardOutput output;
  return output.Finish("peerage-model", peerage::transform::Main(argc, argv));
}
