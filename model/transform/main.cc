// The `peerage-model` program: work on model files, without a server. Exit codes: 0 done, 1 it
// failed, 2 wrong usage.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <vector>

#include "model/transform/commands/command.h"

namespace peerage::transform {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Returns the exit code.
int Execute(Command& command) {
  absl::Status status = command.Check();
  const int if_not_ok = status.ok() ? kFailed : kWrongUsage;
  if (status.ok()) status = command.Run();
  if (status.ok()) return 0;
  std::cerr << "peerage-model: " << status.message() << "\n";
  return if_not_ok;
}

int Main(int argc, char** argv) {
  CLI::App program("Looks at model files and changes them.", "peerage-model");
  program.require_subcommand(1);
  program.set_version_flag("--version", "peerage-model " PEERAGE_VERSION);
  program.footer("Exit codes: 0 done, 1 it failed, 2 wrong usage.");
  std::vector<std::unique_ptr<Command>> commands;
  for (auto add : {AddInspect, AddConvert, AddUpcycle}) commands.push_back(add(program));
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return program.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    std::cerr << "peerage-model: " << error.what() << "\n";
    return kWrongUsage;
  }
  for (const std::unique_ptr<Command>& command : commands) {
    if (command->chosen()) return Execute(*command);
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace peerage::transform

int main(int argc, char** argv) { return peerage::transform::Main(argc, argv); }
