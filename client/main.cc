// The `peerage` command. Exit codes: 0 done, 1 a call failed (or the server is not healthy),
// 2 wrong usage, 130 interrupted.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <vector>

#include "client/call_status.h"
#include "client/commands/command.h"
#include "client/interrupt.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr int kCallFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int kInterrupted = 130;

int RunCommand(Command& command) {
  if (const absl::Status status = command.Prepare(); !status.ok()) {
    std::cerr << "peerage: " << status.message() << "\n";
    return kWrongUsage;
  }
  Interrupt::Block();
  Client client(command.client_options());
  Interrupt interrupt([&client] { client.Cancel(); });
  const absl::StatusOr<int> result = command.Run(client);
  std::cout.flush();
  if (interrupt.raised()) {
    std::cerr << "peerage: interrupted\n";
    return kInterrupted;
  }
  if (result.ok()) return *result;
  std::cerr << "peerage: " << EscapeText(DescribeError(result.status())) << "\n";
  return kCallFailed;
}

int Main(int argc, char** argv) {
  CLI::App program("Talks to a peerage-server.", "peerage");
  program.require_subcommand(1);
  program.set_version_flag("--version", "peerage " PEERAGE_VERSION);
  program.footer(
      "Exit codes: 0 done, 1 a call failed or the server is not healthy, 2 wrong usage,\n"
      "130 interrupted. PEERAGE_SERVER sets the default of --server.");
  std::vector<std::unique_ptr<Command>> commands;
  for (auto add : {AddGenerate, AddScore, AddTokenize, AddExperts, AddModels, AddStatus,
                   AddLogLevel, AddHealth}) {
    commands.push_back(add(program));
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return program.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    std::cerr << "peerage: " << error.what() << "\n";
    return kWrongUsage;
  }
  for (const std::unique_ptr<Command>& command : commands) {
    if (command->chosen()) return RunCommand(*command);
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace peerage::client

int main(int argc, char** argv) { return peerage::client::Main(argc, argv); }
