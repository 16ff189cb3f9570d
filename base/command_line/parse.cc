#include "base/command_line/parse.h"

#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/command_line/completion.h"
#include "base/command_line/help_formatter.h"
#include "base/command_line/nearest_name.h"
#include "base/error_text.h"
#include "base/utf8.h"

namespace peerage {
namespace {

const CLI::App* ChosenCommand(const CLI::App& program) {
  const std::vector<CLI::App*> chosen =
      const_cast<CLI::App&>(program)
          .get_subcommands();  // CLI11 has no const form of the parsed ones
  return chosen.empty() ? nullptr : chosen.back();
}

// The options that may follow here: the command's and the program's.
std::vector<const CLI::Option*> OptionsHere(const CLI::App& program) {
  std::vector<const CLI::Option*> options = program.get_options();
  if (const CLI::App* command = ChosenCommand(program)) {
    for (const CLI::Option* option : command->get_options()) options.push_back(option);
  }
  return options;
}

std::string NameOf(const CLI::Option& option) {
  return option.get_positional() && !option.nonpositional() ? option.get_name(true, false)
                                                            : option.get_name();
}

std::string Unknown(const CLI::App& program, const std::string& word) {
  std::vector<std::string> names;
  if (absl::StartsWith(word, "-")) {
    for (const CLI::Option* option : OptionsHere(program)) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    const std::string given = word.substr(0, word.find('='));
    return absl::StrCat("unknown option ", given, DidYouMean(given, names));
  }
  if (ChosenCommand(program) != nullptr) {
    return absl::StrCat("one argument too many: ", Quoted(word));
  }
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return absl::StrCat("unknown command ", Quoted(word), DidYouMean(word, names));
}

// CLI11's words for a missing or repeated value count arguments and name types.
std::string Mismatch(const CLI::App& program, const std::string& message) {
  for (const CLI::Option* option : OptionsHere(program)) {
    if (!absl::StartsWith(message, option->get_name() + ":")) continue;
    return option->count() > 1 ? option->get_name() + " may be given once"
                               : option->get_name() + " needs a value";
  }
  return message;
}

std::string WhatIsWrong(const CLI::App& program, const CLI::ParseError& error) {
  if (const auto words = program.remaining(/*recurse=*/true); !words.empty()) {
    for (const std::string& word : words) {
      if (absl::StartsWith(word, "-") && word != "--") return Unknown(program, word);
    }
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ||
        ChosenCommand(program) == nullptr) {
      return Unknown(program, words.front());
    }
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    return Mismatch(program, error.what());
  }
  if (ChosenCommand(program) == nullptr && program.get_subcommands({}).size() > 0 &&
      dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    return absl::StrCat("which command? `", program.get_name(), " --help` lists them");
  }
  return error.what();
}

// The first text that cannot be sent, or nothing.
std::optional<std::string> FindBadText(const CLI::App& program) {
  for (const CLI::Option* option : OptionsHere(program)) {
    const std::string value = ValueName(*option);
    if (value == "FILE" || value == "DIR" || value == "PATH") continue;
    for (const std::string& text : option->results()) {
      if (const auto at = FindInvalidUtf8(text)) {
        return absl::StrCat(NameOf(*option), ": byte ", *at, " is not UTF-8");
      }
    }
  }
  return std::nullopt;
}

int Refuse(const CLI::App& program, const std::string& what) {
  // An option that is unknown may hold anything.
  std::string line;
  for (const char c : what) {
    const bool plain = c == '\t' || static_cast<unsigned char>(c) >= 0x20;
    line += plain && c != 0x7F ? std::string(1, c) : " ";
  }
  if (FindInvalidUtf8(line).has_value()) line = "an option is not UTF-8";
  std::cerr << program.get_name() << ": " << line << "\n";
  return kWrongUsage;
}

}  // namespace

std::optional<int> ParseCommandLine(CLI::App& program, int argc, char** argv) {
  const CLI::App& completion = AddCompletion(program);
  for (CLI::App* command : program.get_subcommands({})) command->fallthrough();
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return program.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return Refuse(program, WhatIsWrong(program, error));
  }
  if (const auto bad = FindBadText(program)) return Refuse(program, *bad);
  if (!completion.parsed()) return std::nullopt;
  std::cout << BashCompletion(program);
  return 0;
}

}  // namespace peerage
