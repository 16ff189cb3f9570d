#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/peerage_client.h"

namespace peerage::client {

// The options that all commands have; they may stand before the command's name, too.
struct SharedOptions {
  std::string server = ClientOptions().server;
  std::string timeout;  // as it was given; empty: none
  bool json = false;
  CredentialFiles credentials;
  bool insecure = false;  // a token may go over a network in the clear
};

// Adds them to `program`, which must not outlive the result.
std::unique_ptr<SharedOptions> AddSharedOptions(CLI::App& program);

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

  // Ctrl-C, on another thread than Run's. Returns whether the program goes on.
  virtual bool OnInterrupt(Client& client) {
    client.Cancel();
    return false;
  }

  // Whether --json changes what it prints.
  virtual bool has_json() const { return true; }

  bool chosen() const { return app_.parsed(); }
  // Of what was given. INVALID_ARGUMENT when the server's address or the timeout is none, and where
  // a token would leave this machine in the clear though nobody said that it may.
  absl::StatusOr<ClientOptions> client_options() const;

 protected:
  // Adds the subcommand. `examples` are command lines without the program's name; --help shows
  // them.
  struct Words {
    std::string name;
    std::string description;
    std::vector<std::string> examples;
  };
  Command(CLI::App& program, const SharedOptions& shared, const Words& words);

  CLI::App& app() { return app_; }
  bool json() const { return shared_.json; }
  // A call takes at most so long, unless --timeout says otherwise.
  void set_default_timeout(absl::Duration timeout) { default_timeout_ = timeout; }

 private:
  CLI::App& app_;
  const SharedOptions& shared_;
  absl::Duration default_timeout_ = absl::InfiniteDuration();
};

// All subcommands, each in the file of its name. They are added to `program`; it and the shared
// options must outlive them.
using AddCommand = std::unique_ptr<Command>(CLI::App& program, const SharedOptions& shared);
AddCommand AddGenerate, AddChat, AddScore, AddTokenize, AddDetokenize, AddExperts, AddModels,
    AddStatus, AddLogLevel, AddHealth, AddBench;

}  // namespace peerage::client
