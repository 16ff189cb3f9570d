#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace peerage::transform {

// One subcommand of `peerage-model`: its flags, and what it does.
class Command {
 public:
  virtual ~Command() = default;

  // Does the work and prints the result on standard output.
  virtual absl::Status Run() = 0;

  bool chosen() const { return app_.parsed(); }

 protected:
  Command(CLI::App& program, const std::string& name, const std::string& description)
      : app_(*program.add_subcommand(name, description)) {}

  CLI::App& app() { return app_; }

 private:
  CLI::App& app_;
};

// Each adds its subcommand to `program`, which must outlive it.
std::unique_ptr<Command> AddInspect(CLI::App& program);
std::unique_ptr<Command> AddConvert(CLI::App& program);
std::unique_ptr<Command> AddUpcycle(CLI::App& program);

}  // namespace peerage::transform
