// The `peerage-server` program. Exit codes: 0 served and drained, 2 a start-up configuration that
// cannot be served (explained by one line on stderr), 128 + signal when a second signal came.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/choice.h"
#include "base/status_macros.h"
#include "server/app.h"
#include "server/config.h"
#include "server/engine/clock.h"
#include "server/log/log.h"
#include "server/shutdown_signals.h"

namespace peerage {
namespace {

LogOptions LogOptionsOf(const ServerConfig& config) {
  return {.format = *FindChoice(kLogFormats, config.log_format),
          .level = *FindChoice(kLogLevels, config.log_level),
          .lines_per_second = config.log_rate};
}

int RefuseToStart(const absl::Status& status) {
  std::cerr << "peerage-server: " << status.message() << std::endl;
  return 2;
}

// An error is that of a start that was refused.
absl::Status Serve(const CommandLine& command_line) {
  // Never destroyed: its thread listens for a second signal until the process ends.
  ShutdownSignals& signals = *new ShutdownSignals;
  // On stderr: stdout stays free for the ready line.
  Log log(LogOptionsOf(command_line.config), &Clock::Real(), &std::cerr);
  log.Write(LogLevel::kInfo, absl::StrCat("peerage-server ", kVersion));
  for (const std::string& name : command_line.unknown_variables) {
    log.Write(LogLevel::kWarn, absl::StrCat(name, " names no option of this program"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<App> app, App::Start(command_line.config, log));
  signals.SetServing();
  std::cout << app->ReadyLine() << std::endl;
  signals.Wait();
  app->Drain(command_line.config.drain_timeout);
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<CommandLine> command_line =
      ParseCommandLine(arguments, ProcessEnvironment());
  if (!command_line.ok()) return RefuseToStart(command_line.status());
  if (command_line->print) {
    std::cout << *command_line->print << std::flush;
    return 0;
  }
  // The log has ended by then: why the server does not start is the last line.
  const absl::Status served = Serve(*command_line);
  return served.ok() ? 0 : RefuseToStart(served);
}

}  // namespace
}  // namespace peerage

int main(int argc, char** argv) { return peerage::Main({argv + 1, argv + argc}); }
