#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace peerage::transform {

// One subcommand of `peerage-model`: its flags, and what it does.
class Command {
 public:
  virtual ~Command() = default;

  // Whether the flags fit each other, as far as that is known without looking at any file. An error
  // is wrong usage. Comes before Run.
  virtual absl::Status Check() { return absl::OkStatus(); }

  // Does the work and prints the result on standard output.
  virtual absl::Status Run() = 0;

  bool chosen() const { return app_.parsed(); }

 protected:
  // `examples`: each what follows "peerage-model ".
  Command(CLI::App& program, const std::string& name, const std::string& description,
          std::initializer_list<const char*> examples)
      : app_(*program.add_subcommand(name, description)) {
    std::string footer = "Examples:";
    for (const char* example : examples) footer.append("\n  peerage-model ").append(example);
    app_.footer(footer);
  }

  CLI::App& app() { return app_; }

  // Adds an option with a path that is not empty.
  CLI::Option* AddPath(const std::string& option, std::string& path,
                       const std::string& description) {
    return app_.add_option(option, path, description)
        ->check([](const std::string& given) { return given.empty() ? "is empty" : ""; })
        ->type_name("PATH");
  }

 private:
  CLI::App& app_;
};

// Each adds its subcommand to `program`, which must outlive it.
std::unique_ptr<Command> AddInspect(CLI::App& program);
std::unique_ptr<Command> AddConvert(CLI::App& program);
std::unique_ptr<Command> AddUpcycle(CLI::App& program);

}  // namespace peerage::transform
