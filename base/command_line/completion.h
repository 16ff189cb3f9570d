#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace peerage {

// Adds the command that prints the completion.
const CLI::App& AddCompletion(CLI::App& program);

// A bash script that completes the program's commands, options, the words that options take
// ("recent|total" in their type_name) and the files that others name (FILE, DIR, PATH). Made of the
// program's own description, so it cannot lag behind.
std::string BashCompletion(const CLI::App& program);

}  // namespace peerage
