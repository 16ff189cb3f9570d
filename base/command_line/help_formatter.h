#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

// Lays out --help: an option's names and what its value is on the left, its meaning on the right,
// always in the same order: what it does, (required), (default: X), (environment: X); no line
// beyond kHelpColumns. An option's value is called by the first word of its type_name(), without
// what CLI11 knows of checks; its default is default_str(). A subcommand's help has the options
// that all commands have, too.
inline constexpr size_t kHelpColumns = 100;

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();

  std::string make_description(const CLI::App* app) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override;
};

// What stands for an option's value in --help: "N", "FILE", "recent|total"; empty for a flag.
std::string ValueName(const CLI::Option& option);

// The text in lines of at most `columns`, broken between words.
std::string WrapText(absl::string_view text, size_t columns, size_t indent);

}  // namespace peerage
