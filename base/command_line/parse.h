#pragma once

#include <CLI/CLI.hpp>
#include <optional>

namespace peerage {

// Exit codes of our programs, beside 0.
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

// Reads the command line of a program of ours, whose name and commands `program` has, and does what
// all programs do alike:
//   * --help and --version are printed, and so is the bash completion of the command `completion`,
//     which this adds;
//   * what is wrong is said in one line on standard error: unknown commands and options with the
//     name that was probably meant, texts that are not UTF-8 with option and byte (those of options
//     that name files, FILE, DIR or PATH, may be any bytes).
// Options of the program itself are taken before and behind the command.
//
// Returns the exit code when the program is done (0 or kWrongUsage), nothing when it goes on.
std::optional<int> ParseCommandLine(CLI::App& program, int argc, char** argv);

}  // namespace peerage
