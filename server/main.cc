// The `peerage-server` program. Exit codes: 0 served and drained, 2 a start-up configuration that
// cannot be served (explained by one line on stderr), 3 the device was lost while it served (start
// it anew), 4 the model was in a step that did not end when the server was to end, 128 + signal
// when a second signal came.
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/choice.h"
#include "base/lock_order.h"
#include "server/app.h"
#include "server/config.h"
#include "server/engine/clock.h"
#include "server/idle_memory.h"
#include "server/log/log.h"
#include "server/shutdown_signals.h"

namespace peerage {
namespace {

LogOptions LogOptionsOf(const ServerConfig& config) {
  return {.format = *FindChoice(kLogFormats, config.log_format),
          .level = *FindChoice(kLogLevels, config.log_level),
          .lines_per_second = config.log_rate};
}

enum ExitCode { kServed = 0, kRefusedToStart = 2, kDeviceLost = 3, kModelHangs = 4 };

struct End {
  ExitCode code = kServed;
  absl::Status reason;  // OK where it served
};

End Serve(const CommandLine& command_line) {
  // Never destroyed: its thread listens for a second signal until the process ends.
  ShutdownSignals& signals = *new ShutdownSignals;
  // On stderr: stdout stays free for the ready line.
  Log log(LogOptionsOf(command_line.config), &Clock::Real(), &std::cerr);
  log.Write(LogLevel::kInfo, absl::StrCat("peerage-server ", kVersion));
  for (const std::string& name : command_line.unknown_variables) {
    log.Write(LogLevel::kWarn, absl::StrCat(name, " names no option of this program"));
  }
  const auto app = App::Start(command_line.config, log, [&signals] { signals.End(); });
  if (!app.ok()) return {kRefusedToStart, app.status()};
  signals.SetServing();
  signals.OnHangUp([&app] { (*app)->ReadIdentitiesAnew(); });
  std::cout << (*app)->ReadyLine() << std::endl;
  signals.Wait();
  signals.OnHangUp(nullptr);
  const App::Drained drained = (*app)->Drain(command_line.config.drain_timeout);
  if (drained == App::Drained::kHangs) {
    std::cerr << "peerage-server: a step of the model does not end: left without it" << std::endl;
    std::_Exit(kModelHangs);  // whatever waits for the model's thread would wait for ever
  }
  if (drained == App::Drained::kLoads) {
    std::cerr << "peerage-server: a model is still being loaded: left without it" << std::endl;
    std::_Exit(kServed);  // some worker's next one, which nobody needs any more
  }
  const absl::Status device = (*app)->CheckDevice();
  return {device.ok() ? kServed : kDeviceLost, device};
}

int Main(const std::vector<std::string>& arguments) {
  // Who reads what is printed may go at any moment; that is no reason to end.
  std::signal(SIGPIPE, SIG_IGN);
  LeaveLockOrderUnchecked();
  BoundArenas();
  const absl::StatusOr<CommandLine> command_line =
      ParseCommandLine(arguments, ProcessEnvironment());
  if (command_line.ok() && command_line->print_config) {
    std::cout << PrintConfig(App::Resolve(command_line->config)) << std::flush;
    return kServed;
  }
  if (command_line.ok() && command_line->check_config) {
    const absl::Status status = App::Check(command_line->config);
    if (!status.ok()) std::cerr << "peerage-server: " << status.message() << std::endl;
    return status.ok() ? kServed : kRefusedToStart;
  }
  if (command_line.ok() && command_line->print) {
    std::cout << *command_line->print << std::flush;
    return kServed;
  }
  const End end =
      command_line.ok() ? Serve(*command_line) : End{kRefusedToStart, command_line.status()};
  // The log has ended by then: why the server does not serve is the last line.
  if (!end.reason.ok()) std::cerr << "peerage-server: " << end.reason.message() << std::endl;
  return end.code;
}

}  // namespace
}  // namespace peerage

int main(int argc, char** argv) { return peerage::Main({argv + 1, argv + argc}); }
