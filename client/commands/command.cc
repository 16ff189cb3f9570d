#include "client/commands/command.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "client/server_address.h"

namespace peerage::client {
namespace {

// "500ms", "30s", "2m", "1h"; a number alone is seconds.
absl::StatusOr<absl::Duration> ReadTimeout(const std::string& text) {
  const bool unit = !text.empty() && absl::ascii_isalpha(text.back());
  absl::Duration timeout;
  if (!absl::ParseDuration(unit ? text : text + "s", &timeout) || timeout < absl::Milliseconds(1) ||
      timeout > absl::Hours(24)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--timeout is ", Quoted(text), ", not 1ms to 24h, such as 500ms or 30s"));
  }
  return timeout;
}

void AddFile(CLI::App& program, const std::string& name, const std::string& variable,
             std::string& path, const std::string& description) {
  program.add_option(name, path, description)->envname(variable)->type_name("FILE");
}

void AddCredentials(CLI::App& program, CredentialFiles& files) {
  AddFile(program, "--tls-ca", "PEERAGE_CLIENT_TLS_CA", files.tls_ca,
          "Speak TLS, with a server whose certificate leads to one of these, PEM");
  AddFile(program, "--tls-cert", "PEERAGE_CLIENT_TLS_CERT", files.tls_cert,
          "The client's own certificate, PEM; with --tls-key");
  AddFile(program, "--tls-key", "PEERAGE_CLIENT_TLS_KEY", files.tls_key, "Its private key, PEM");
  AddFile(program, "--token-file", "PEERAGE_CLIENT_TOKEN_FILE", files.token,
          "A file with the token to show with every call");
}

}  // namespace

std::unique_ptr<SharedOptions> AddSharedOptions(CLI::App& program) {
  auto options = std::make_unique<SharedOptions>();
  program.add_option("--server", options->server, "Where the server listens, HOST:PORT")
      ->envname("PEERAGE_SERVER")
      ->default_str(options->server)
      ->type_name("ADDRESS");
  program.add_option("--timeout", options->timeout, "Longest time of a call, such as 500ms or 30s")
      ->default_str("none")
      ->type_name("DURATION");
  AddCredentials(program, options->credentials);
  program
      .add_flag("--insecure", options->insecure,
                "Send the token without TLS: something else protects it")
      ->envname("PEERAGE_CLIENT_INSECURE");
  program.add_flag("--json", options->json, "Print the answer as JSON, for machines");
  return options;
}

Command::Command(CLI::App& program, const SharedOptions& shared, const Words& words)
    : app_(*program.add_subcommand(words.name, words.description)), shared_(shared) {
  std::string footer = "Examples:";
  for (const std::string& example : words.examples)
    absl::StrAppend(&footer, "\n  peerage ", example);
  app_.footer(footer);
}

absl::StatusOr<ClientOptions> Command::client_options() const {
  RETURN_IF_ERROR(At("--server or PEERAGE_SERVER", CheckServerAddress(shared_.server)));
  ClientOptions options{.server = shared_.server, .timeout = default_timeout_};
  if (!app_.get_parent()->get_option("--timeout")->empty()) {
    ASSIGN_OR_RETURN(options.timeout, ReadTimeout(shared_.timeout));
  }
  ASSIGN_OR_RETURN(options.credentials, ReadCredentials(shared_.credentials));
  const bool exposes_token = !options.credentials.token.empty() && !options.credentials.tls();
  if (exposes_token && !shared_.insecure && !IsOnThisMachine(shared_.server)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--token-file: the token would go to ", Quoted(shared_.server),
        " in the clear: give --tls-ca, or --insecure where something else protects it"));
  }
  return options;
}

}  // namespace peerage::client
