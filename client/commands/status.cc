#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/message_json.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

// "ready", "rebuilding", ...; what a later server says as it is.
std::string StateName(v1::WorkerState state) {
  const absl::string_view name = v1::WorkerState_Name(state);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "WORKER_STATE_"));
}

// Of the tokens that were looked for in the prefix cache.
std::string PrefixHits(const v1::WorkerStatus& worker) {
  const double queried = static_cast<double>(worker.prefix_cache_query_tokens());
  if (queried == 0) return "-";
  return absl::StrFormat("%.0f %%", 100 * worker.prefix_cache_hit_tokens() / queried);
}

std::string Describe(const v1::GetServerStatusResponse& status) {
  std::string text = absl::StrCat(
      "peerage-server ", EscapeText(status.version()), ", up ",
      FormatInterval(absl::Seconds(status.uptime_seconds())), status.draining() ? ", draining" : "",
      ", ", status.requests_running(), " running, ", status.requests_waiting(), " waiting\n");
  using Align = Table::Align;
  Table table({{"worker", Align::kRight},
               {"device"},
               {"kernels"},
               {"state"},
               {"restarts", Align::kRight},
               {"waiting", Align::kRight},
               {"running", Align::kRight},
               {"KV blocks used", Align::kRight},
               {"cached", Align::kRight},
               {"of", Align::kRight},
               {"prefix hits", Align::kRight},
               {"steps", Align::kRight}});
  for (const v1::WorkerStatus& worker : status.workers()) {
    table.AddRow({absl::StrCat(worker.index()), worker.device(), worker.kernel_target(),
                  StateName(worker.state()), absl::StrCat(worker.restarts()),
                  absl::StrCat(worker.requests_waiting()), absl::StrCat(worker.requests_running()),
                  absl::StrCat(worker.kv_blocks_total() - worker.kv_blocks_free()),
                  absl::StrCat(worker.kv_blocks_cached()), absl::StrCat(worker.kv_blocks_total()),
                  PrefixHits(worker), absl::StrCat(worker.steps())});
  }
  return text + table.ToString();
}

class StatusCommand : public Command {
 public:
  StatusCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "status",
                 .description = "Show how the server is doing",
                 .examples = {"status", "status --json | jq .requests_running"}}) {}

  absl::StatusOr<int> Run(Client& client) override {
    ASSIGN_OR_RETURN(const v1::GetServerStatusResponse response, client.GetServerStatus());
    std::cout << (json() ? JsonText(ToJson(response)) : Describe(response));
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> AddStatus(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<StatusCommand>(program, shared);
}

}  // namespace peerage::client
