#include <iostream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/message_json.h"

namespace peerage::client {
namespace {

constexpr char kPrefix[] = "LOG_LEVEL_";

// "debug" of LOG_LEVEL_DEBUG.
std::string NameOf(v1::LogLevel level) {
  const std::string& name = v1::LogLevel_Name(level);
  return absl::AsciiStrToLower(absl::StripPrefix(name, kPrefix));
}

class LogLevelCommand : public Command {
 public:
  LogLevelCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "log-level",
                 .description = "Show the least that the server logs, or change it",
                 .examples = {"log-level", "log-level debug"}}) {
    AddWord(app(), "level", level_, "debug|info|warn|error|off", "debug, info, warn, error or off");
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (level_.empty()) return Show(client);
    v1::SetLogLevelRequest request;
    v1::LogLevel level = v1::LOG_LEVEL_UNSPECIFIED;
    v1::LogLevel_Parse(absl::StrCat(kPrefix, absl::AsciiStrToUpper(level_)), &level);
    request.set_level(level);
    ASSIGN_OR_RETURN(const v1::SetLogLevelResponse response, client.SetLogLevel(request));
    std::cout << (json() ? JsonText(ToJson(response))
                         : absl::StrCat(level_, ", was ", NameOf(response.previous()), "\n"));
    return 0;
  }

 private:
  absl::StatusOr<int> Show(Client& client) {
    ASSIGN_OR_RETURN(const v1::GetServerStatusResponse response, client.GetServerStatus());
    if (json()) {
      v1::SetLogLevelRequest level;
      level.set_level(response.log_level());
      std::cout << JsonText(ToJson(level));
    } else {
      std::cout << NameOf(response.log_level()) << "\n";
    }
    return 0;
  }

  std::string level_;
};

}  // namespace

std::unique_ptr<Command> AddLogLevel(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<LogLevelCommand>(program, shared);
}

}  // namespace peerage::client
