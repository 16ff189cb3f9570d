#include "server/config.h"

#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/command_line/help_formatter.h"
#include "base/command_line/nearest_name.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "server/config_file.h"
#include "server/config_options.h"
#include "server/transport_check.h"

namespace peerage {
namespace {

constexpr absl::string_view kVariablePrefix = "PEERAGE_";
constexpr absl::string_view kConfigVariable = "PEERAGE_CONFIG";
// Of the command `peerage`.
constexpr absl::string_view kClientVariable = "PEERAGE_SERVER";
constexpr absl::string_view kClientPrefix = "PEERAGE_CLIENT_";

std::string VariableName(const ConfigOption& option) {
  return absl::StrCat(kVariablePrefix,
                      absl::AsciiStrToUpper(absl::StrReplaceAll(option.name, {{"-", "_"}})));
}

const ConfigOption* FindOption(absl::string_view name) {
  for (const ConfigOption& option : ConfigOptions()) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

// A value and the name under which its author wrote it, for errors.
struct Setting {
  std::string value;
  std::string origin;
};

// By the option's name; a stronger source overwrites a weaker one.
using Settings = std::map<std::string, Setting, std::less<>>;

struct Flags {
  Settings settings;
  std::string config_file;
  bool print_config = false;
  bool check_config = false;
  std::optional<std::string> print;  // --help or --version
};

// Precondition: there is one.
absl::Status UnknownArgument(const std::vector<std::string>& unknown) {
  const std::string& argument = unknown.front();
  if (!absl::StartsWith(argument, "-")) {
    return absl::InvalidArgumentError(absl::StrCat("\"", argument, "\" is no option"));
  }
  std::vector<std::string> names = {"--config", "--print-config", "--check-config", "--help",
                                    "--version"};
  for (const ConfigOption& option : ConfigOptions())
    names.push_back("--" + std::string(option.name));
  const std::string given = argument.substr(0, argument.find('='));
  return absl::InvalidArgumentError(
      absl::StrCat("unknown option ", given, DidYouMean(given, names)));
}

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments) {
  Flags flags;
  CLI::App app("Serves a PEER, BAM or dense language model over gRPC.", "peerage-server");
  app.footer(
      "Every option is also an environment variable (--max-sequences: PEERAGE_MAX_SEQUENCES)\n"
      "and a key of the --config file. A flag beats the environment, which beats the file.");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", absl::StrCat("peerage-server ", kVersion));
  app.add_option("--config", flags.config_file, "A TOML file with these options")
      ->type_name("FILE");
  app.add_flag("--print-config", flags.print_config, "Print the resolved configuration and exit");
  app.add_flag("--check-config", flags.check_config,
               "Read everything that the options name, say what is wrong with it, and exit");
  std::map<absl::string_view, std::string> values;  // CLI11 writes into its nodes
  for (const ConfigOption& option : ConfigOptions()) {
    const bool says_default = option.is_switch && !option.default_text.empty();
    CLI::Option& added = *app.add_option(
        absl::StrCat("--", option.name), values[option.name],
        absl::StrCat(option.description,
                     says_default ? absl::StrCat(" (default: ", option.default_text, ")") : ""));
    added.type_name(std::string(option.value_name));
    // CLI11 takes a default for the value of an option that stands alone: a switch has none here.
    if (!option.is_switch) added.default_str(std::string(option.default_text));
    if (option.is_switch) added.expected(0, 1);
  }
  try {
    // CLI11 takes the arguments from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    flags.print = app.help();
  } catch (const CLI::CallForVersion&) {
    flags.print = absl::StrCat("peerage-server ", kVersion, "\n");
  } catch (const CLI::ExtrasError&) {
    return UnknownArgument(app.remaining());
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  for (const ConfigOption& option : ConfigOptions()) {
    const std::string flag = absl::StrCat("--", option.name);
    if (app.count(flag) == 0) continue;
    const std::string& value = values[option.name];
    const bool stands_alone = option.is_switch && value.empty();
    flags.settings[std::string(option.name)] = {stands_alone ? "true" : value, flag};
  }
  return flags;
}

absl::Status AddFile(const std::string& path, Settings* settings) {
  std::ifstream file(path);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat("--config: cannot read '", path, "'"));
  }
  absl::StatusOr<std::vector<ConfigFileEntry>> entries = ParseConfigFile(text.str());
  if (!entries.ok()) return At(path, entries.status());
  for (ConfigFileEntry& entry : *entries) {
    if (FindOption(entry.key) == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": line ", entry.line, ": unknown key '", entry.key, "'"));
    }
    const std::string origin = absl::StrCat(path, ": line ", entry.line, ": ", entry.key);
    (*settings)[entry.key] = {std::move(entry.value), origin};
  }
  return absl::OkStatus();
}

// An empty variable counts as unset: that is how compose files and unit files clear one.
const std::string* FindVariable(const Environment& environment, const std::string& name) {
  const auto it = environment.find(name);
  return it == environment.end() || it->second.empty() ? nullptr : &it->second;
}

void AddEnvironment(const Environment& environment, Settings* settings) {
  for (const ConfigOption& option : ConfigOptions()) {
    const std::string name = VariableName(option);
    if (const std::string* value = FindVariable(environment, name)) {
      (*settings)[std::string(option.name)] = {*value, name};
    }
  }
}

std::vector<std::string> UnknownVariables(const Environment& environment) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : environment) {
    const auto matches = [&name = name](const ConfigOption& o) { return VariableName(o) == name; };
    if (absl::StartsWith(name, kVariablePrefix) && name != kConfigVariable &&
        name != kClientVariable && !absl::StartsWith(name, kClientPrefix) &&
        absl::c_none_of(ConfigOptions(), matches)) {
      unknown.push_back(name);
    }
  }
  return unknown;
}

int AffinityCpus() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) return 1;
  return CPU_COUNT(&cpus);
}

// The option's own check judges the name: "my model.gguf" needs an explicit --model-name.
absl::Status SetDefaultModelName(ServerConfig* config) {
  const std::filesystem::path path = std::filesystem::absolute(config->model).lexically_normal();
  const std::string base = (path.has_filename() ? path : path.parent_path()).filename().string();
  const ConfigOption* option = FindOption("model-name");
  return At("--model-name: its default from --model does not do",
            option->set(absl::StripSuffix(base, ".gguf"), config));
}

absl::StatusOr<ServerConfig> Resolve(const Settings& settings) {
  ServerConfig config;
  config.threads = AffinityCpus();
  for (const ConfigOption& option : ConfigOptions()) {
    const auto it = settings.find(option.name);
    if (it == settings.end()) continue;
    RETURN_IF_ERROR(At(it->second.origin, option.set(it->second.value, &config)));
  }
  if (config.model.empty()) {
    return absl::InvalidArgumentError("--model: required: a .gguf file or a model directory");
  }
  if (config.model_name.empty()) RETURN_IF_ERROR(SetDefaultModelName(&config));
  RETURN_IF_ERROR(CheckTransport(config));
  return config;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const Environment& environment) {
  ASSIGN_OR_RETURN(Flags flags, ParseFlags(arguments));
  CommandLine command_line;
  if (flags.print) {
    command_line.print = std::move(flags.print);
    return command_line;
  }
  if (const std::string* path = FindVariable(environment, std::string(kConfigVariable));
      path != nullptr && flags.config_file.empty()) {
    flags.config_file = *path;
  }
  Settings settings;
  if (!flags.config_file.empty()) RETURN_IF_ERROR(AddFile(flags.config_file, &settings));
  AddEnvironment(environment, &settings);
  for (auto& [name, setting] : flags.settings) settings[name] = std::move(setting);
  ASSIGN_OR_RETURN(command_line.config, Resolve(settings));
  command_line.unknown_variables = UnknownVariables(environment);
  command_line.print_config = flags.print_config;
  command_line.check_config = flags.check_config;
  return command_line;
}

std::string PrintConfig(const ServerConfig& config) {
  std::string toml;
  for (const ConfigOption& option : ConfigOptions()) {
    absl::StrAppend(&toml, option.name, " = ", option.to_toml(config), "\n");
  }
  return toml;
}

Environment ProcessEnvironment() {
  Environment environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text = *variable;
    const size_t equals = text.find('=');
    if (equals == absl::string_view::npos) continue;
    environment.emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
  }
  return environment;
}

}  // namespace peerage
