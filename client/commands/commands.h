#pragma once

#include <CLI/CLI.hpp>
#include <memory>

#include "client/command.h"

namespace peerage::client {

// Each adds its subcommand to `program`, which must outlive it.
std::unique_ptr<Command> AddGenerate(CLI::App& program);
std::unique_ptr<Command> AddScore(CLI::App& program);
std::unique_ptr<Command> AddTokenize(CLI::App& program);
std::unique_ptr<Command> AddExperts(CLI::App& program);
std::unique_ptr<Command> AddModels(CLI::App& program);
std::unique_ptr<Command> AddStatus(CLI::App& program);
std::unique_ptr<Command> AddHealth(CLI::App& program);

}  // namespace peerage::client
