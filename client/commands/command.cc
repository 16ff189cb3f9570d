#include "client/commands/command.h"

#include <map>

namespace peerage::client {

Command::Command(CLI::App& program, const std::string& name, const std::string& description)
    : app_(*program.add_subcommand(name, description)) {
  const std::map<std::string, double> units = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
  app_.add_option("--server", server_, "Where the server listens (" + server_ + ")")
      ->envname("PEERAGE_SERVER")
      ->type_name("HOST:PORT");
  app_.add_option("--timeout", timeout_seconds_, "Longest time of a call, like 500ms or 30s")
      ->transform(CLI::AsNumberWithUnit(units))
      ->check(CLI::Range(1e-3, 86400.0))
      ->type_name("DURATION");
  app_.add_flag("--json", json_, "Print the answer as JSON");
}

ClientOptions Command::client_options() const {
  ClientOptions options;
  options.server = server_;
  if (timeout_seconds_ > 0) options.timeout = absl::Seconds(timeout_seconds_);
  return options;
}

}  // namespace peerage::client
