// The `peerage` command. Exit codes: 0 done, 1 a call failed (or the server is not healthy, or
// output was lost), 2 wrong usage, 130 interrupted.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <vector>

#include "base/command_line/help_formatter.h"
#include "base/command_line/parse.h"
#include "base/command_line/standard_output.h"
#include "base/lock_order.h"
#include "client/call_status.h"
#include "client/commands/command.h"
#include "client/interrupt.h"
#include "client/library_logs.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr int kInterrupted = 130;

int WrongUsage(absl::string_view message) {
  std::cerr << "peerage: " << EscapeText(std::string(message)) << "\n";
  return kWrongUsage;
}

int RunCommand(Command& command, const SharedOptions& shared) {
  if (shared.json && !command.has_json()) return WrongUsage("--json is not for this command");
  const absl::StatusOr<ClientOptions> options = command.client_options();
  if (!options.ok()) return WrongUsage(options.status().message());
  if (const absl::Status status = command.Prepare(); !status.ok()) {
    return WrongUsage(status.message());
  }
  SilenceLibraries();
  Interrupt::Block();
  Client client(*options);
  Interrupt interrupt([&] { return command.OnInterrupt(client); });
  const absl::StatusOr<int> result = command.Run(client);
  std::cout.flush();
  if (interrupt.raised()) {
    std::cerr << "peerage: interrupted\n";
    return kInterrupted;
  }
  if (result.ok()) return *result;
  std::cerr << "peerage: " << EscapeText(DescribeError(result.status(), options->server)) << "\n";
  return kFailed;
}

int Main(int argc, char** argv) {
  LeaveLockOrderUnchecked();
  CLI::App program("Talks to a peerage-server.", "peerage");
  program.formatter(std::make_shared<HelpFormatter>());
  program.require_subcommand(1);
  program.set_version_flag("--version", "peerage " PEERAGE_VERSION);
  const std::unique_ptr<SharedOptions> shared = AddSharedOptions(program);
  std::vector<std::unique_ptr<Command>> commands;
  for (AddCommand* add : {AddGenerate, AddChat, AddScore, AddTokenize, AddDetokenize, AddExperts,
                          AddModels, AddStatus, AddLogLevel, AddHealth, AddBench}) {
    commands.push_back(add(program, *shared));
  }
  program.footer(
      "`peerage COMMAND --help` has a command's options and examples.\n"
      "Exit codes: 0 done; 1 a call failed, output was lost or the server is not healthy; 2 wrong\n"
      "usage; 130 interrupted.");
  if (const std::optional<int> done = ParseCommandLine(program, argc, argv)) return *done;
  for (const std::unique_ptr<Command>& command : commands) {
    if (command->chosen()) return RunCommand(*command, *shared);
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace peerage::client

int main(int argc, char** argv) {
  peerage::StandardOutput output;
  return output.Finish("peerage", peerage::client::Main(argc, argv));
}
