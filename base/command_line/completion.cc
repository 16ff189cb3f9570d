#include "base/command_line/completion.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/command_line/help_formatter.h"

namespace peerage {
namespace {

std::vector<std::string> NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::string OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return absl::StrJoin(names, " ");
}

// What follows an option: the line of bash that completes it.
std::string CompleteValue(const CLI::Option& option) {
  const std::string value = ValueName(option);
  if (value == "FILE" || value == "DIR" || value == "PATH") {
    return "compopt -o default; COMPREPLY=(); return";
  }
  if (value.find('|') == std::string::npos) return "return";
  return absl::StrCat("COMPREPLY=($(compgen -W \"", absl::StrReplaceAll(value, {{"|", " "}}),
                      "\" -- \"$cur\")); return");
}

// The cases of all options of one command (or of the program: any command) that take a value.
std::string ValueCases(const CLI::App& app, const std::string& command) {
  std::string cases;
  for (const CLI::Option* option : app.get_options()) {
    if (ValueName(*option).empty() || !option->nonpositional()) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : NamesOf(*option))
      patterns.push_back(absl::StrCat(command, ":", name));
    absl::StrAppend(&cases, "    ", absl::StrJoin(patterns, "|"), ") ", CompleteValue(*option),
                    " ;;\n");
  }
  return cases;
}

}  // namespace

const CLI::App& AddCompletion(CLI::App& program) {
  CLI::App& command =
      *program.add_subcommand("completion", "Print the completion of this command line for bash");
  command.footer("Examples:\n  source <(" + program.get_name() + " completion)\n  " +
                 program.get_name() + " completion > ~/.local/share/bash-completion/completions/" +
                 program.get_name());
  return command;
}

std::string BashCompletion(const CLI::App& program) {
  std::vector<std::string> commands;
  std::string value_cases = ValueCases(program, "*");
  std::string option_cases;
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command->get_name());
    value_cases += ValueCases(*command, command->get_name());
    absl::StrAppend(&option_cases, "    ", command->get_name(), ") options=\"",
                    OptionNames(*command), "\" ;;\n");
  }
  return absl::StrReplaceAll(
      R"(# bash completion for NAME: made by `NAME completion`
_NAME_completion() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= options= word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      COMMAND_PATTERN) command=$word; break ;;
    esac
  done
  COMPREPLY=()
  case $command:$prev in
VALUE_CASES  esac
  case $command in
OPTION_CASES    *) options="COMMANDS" ;;
  esac
  if [[ $cur == -* || -z $command ]]; then
    COMPREPLY=($(compgen -W "$options GLOBAL_OPTIONS" -- "$cur"))
  else
    compopt -o default
  fi
}
complete -F _NAME_completion PROGRAM
)",
      {{"_NAME_completion",
        absl::StrCat("_", absl::StrReplaceAll(program.get_name(), {{"-", "_"}}), "_completion")},
       {"NAME", program.get_name()},
       {"PROGRAM", program.get_name()},
       {"COMMAND_PATTERN", absl::StrJoin(commands, "|")},
       {"COMMANDS", absl::StrJoin(commands, " ")},
       {"VALUE_CASES", value_cases},
       {"OPTION_CASES", option_cases},
       {"GLOBAL_OPTIONS", OptionNames(program)}});
}

}  // namespace peerage
