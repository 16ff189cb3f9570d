// The `peerage-server` program. Exit codes: 0 served and drained, 2 a start-up configuration that
// cannot be served (explained by one line on stderr), 128 + signal when a second signal came.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "server/app.h"
#include "server/config.h"
#include "server/shutdown_signals.h"

namespace peerage {
namespace {

// spdlog's default logger writes to stderr in the server's one format; stdout stays free for the
// ready line. Called before any thread starts.
void StartLog(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("peerage"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

int RefuseToStart(const absl::Status& status) {
  std::cerr << "peerage-server: " << status.message() << std::endl;
  return 2;
}

int Serve(const CommandLine& command_line) {
  // Never destroyed: its thread listens for a second signal until the process ends.
  ShutdownSignals& signals = *new ShutdownSignals;
  StartLog(command_line.config.log_level);
  spdlog::info("peerage-server {}", kVersion);
  for (const std::string& name : command_line.unknown_variables) {
    spdlog::warn("{} names no option of this program", name);
  }
  absl::StatusOr<std::unique_ptr<App>> app = App::Start(command_line.config);
  if (!app.ok()) return RefuseToStart(app.status());
  signals.SetServing();
  std::cout << (*app)->ReadyLine() << std::endl;
  signals.Wait();
  (*app)->Drain(command_line.config.drain_timeout);
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<CommandLine> command_line =
      ParseCommandLine(arguments, ProcessEnvironment());
  if (!command_line.ok()) return RefuseToStart(command_line.status());
  if (command_line->print) {
    std::cout << *command_line->print << std::flush;
    return 0;
  }
  return Serve(*command_line);
}

}  // namespace
}  // namespace peerage

int main(int argc, char** argv) { return peerage::Main({argv + 1, argv + argc}); }
