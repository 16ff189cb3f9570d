#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/peerage_client.h"

namespace peerage::client {

// One subcommand of `peerage`: its flags, and what it does with a server.
class Command {
 public:
  virtual ~Command() = default;

  // Completes the request with what is not a flag (standard input). An error is the user's: exit
  // code 2. Called when the flags are parsed, before anything connects.
  virtual absl::Status Prepare() { return absl::OkStatus(); }

  // Calls the server and prints the answer on standard output. Returns the exit code; an error
  // means that a call failed.
  virtual absl::StatusOr<int> Run(Client& client) = 0;

  bool chosen() const { return app_.parsed(); }
  ClientOptions client_options() const;

 protected:
  // Adds the subcommand with the flags that all of them have.
  Command(CLI::App& program, const std::string& name, const std::string& description);

  CLI::App& app() { return app_; }
  bool json() const { return json_; }
  // A call takes at most so long, unless --timeout says otherwise.
  void set_default_timeout(double seconds) { timeout_seconds_ = seconds; }

 private:
  CLI::App& app_;
  std::string server_ = ClientOptions().server;
  bool json_ = false;
  double timeout_seconds_ = 0;  // 0: none
};

// All subcommands, each in the file of its name. They are added to `program`, which must outlive
// them.
std::unique_ptr<Command> AddGenerate(CLI::App& program);
std::unique_ptr<Command> AddScore(CLI::App& program);
std::unique_ptr<Command> AddTokenize(CLI::App& program);
std::unique_ptr<Command> AddExperts(CLI::App& program);
std::unique_ptr<Command> AddModels(CLI::App& program);
std::unique_ptr<Command> AddStatus(CLI::App& program);
std::unique_ptr<Command> AddLogLevel(CLI::App& program);
std::unique_ptr<Command> AddHealth(CLI::App& program);

}  // namespace peerage::client
