#include "base/command_line/help_formatter.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace peerage {
namespace {

constexpr size_t kNameColumns = 30;

// "--bos, --no-bos" of what CLI11 calls "--bos,--no-bos{false}", and what its value is called.
std::string NameColumn(const CLI::Option& option, bool is_positional) {
  if (is_positional) return option.get_name(true, false);
  std::vector<std::string> names;
  for (absl::string_view name : absl::StrSplit(option.get_name(false, true), ',')) {
    names.emplace_back(name.substr(0, name.find('{')));
  }
  std::string column = absl::StrJoin(names, ", ");
  const std::string value = ValueName(option);
  if (value.empty()) return column;
  return absl::StrCat(column, option.get_expected_min() == 0 ? " [" + value + "]" : " " + value);
}

std::string MeaningColumn(const CLI::Option& option) {
  std::string meaning = option.get_description();
  if (option.get_required()) meaning += " (required)";
  if (!option.get_default_str().empty()) {
    absl::StrAppend(&meaning, " (default: ", option.get_default_str(), ")");
  }
  if (!option.get_envname().empty()) {
    absl::StrAppend(&meaning, " (environment: ", option.get_envname(), ")");
  }
  return meaning;
}

std::string Row(const std::string& name, const std::string& meaning) {
  std::string row = absl::StrCat("  ", name);
  if (meaning.empty()) return row + "\n";
  if (row.size() + 1 > kNameColumns) {
    row += "\n" + std::string(kNameColumns, ' ');
  } else {
    row.resize(kNameColumns, ' ');
  }
  return absl::StrCat(row, WrapText(meaning, kHelpColumns - kNameColumns, kNameColumns), "\n");
}

}  // namespace

std::string ValueName(const CLI::Option& option) {
  if (option.get_type_size() == 0 || option.get_expected_max() == 0) return "";
  const std::string type = option.get_type_name();
  const std::string name = type.substr(0, type.find(':'));
  return name == "INT" || name == "UINT" || name == "FLOAT" ? "N" : name;
}

std::string WrapText(absl::string_view text, size_t columns, size_t indent) {
  std::string wrapped;
  size_t used = 0;
  for (absl::string_view word : absl::StrSplit(text, ' ')) {
    if (used > 0 && used + 1 + word.size() > columns) {
      absl::StrAppend(&wrapped, "\n", std::string(indent, ' '));
      used = 0;
    } else if (used > 0) {
      wrapped += " ";
      ++used;
    }
    absl::StrAppend(&wrapped, word);
    used += word.size();
  }
  return wrapped;
}

HelpFormatter::HelpFormatter() { label("SUBCOMMAND", "COMMAND"); }

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return WrapText(app->get_description(), kHelpColumns, 0) + "\n";
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return Row(NameColumn(*option, is_positional), MeaningColumn(*option));
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return Row(command->get_display_name(true), command->get_description());
}

std::string HelpFormatter::make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const {
  const CLI::App* program = app->get_parent();
  if (program == nullptr) {
    return absl::StrReplaceAll(CLI::Formatter::make_subcommands(app, mode),
                               {{"\nSubcommands:", "\nCommands:"}});
  }
  const std::vector<const CLI::Option*> shared =
      program->get_options([program](const CLI::Option* option) {
        return option->nonpositional() && option != program->get_help_ptr() &&
               option != program->get_version_ptr();
      });
  return shared.empty() ? "" : make_group("Options of every command", false, shared);
}

}  // namespace peerage
