#include <iostream>
#include <string>

#include "base/command_line/parse.h"
#include "client/commands/command.h"
#include "client/message_json.h"

namespace peerage::client {
namespace {

// This command is for container health checks: its time is short, and only the exit code matters.
class HealthCommand : public Command {
 public:
  HealthCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "health",
                 .description = "Exit with 0 when the server is SERVING, else with 1; waits for 5 "
                                "seconds unless --timeout says otherwise",
                 .examples = {"health", "health --service SmolLM2 --quiet"}}) {
    set_default_timeout(absl::Seconds(5));
    app()
        .add_option("--service", service_,
                    "A model's name: does it serve? Without it: is the server alive?")
        ->type_name("NAME");
    app().add_flag("--quiet", quiet_, "Print nothing");
  }

  absl::StatusOr<int> Run(Client& client) override {
    const absl::StatusOr<Client::HealthStatus> status = client.CheckHealth(service_);
    if (!status.ok()) return quiet_ ? absl::StatusOr<int>(1) : status.status();
    if (!quiet_) {
      grpc::health::v1::HealthCheckResponse response;
      response.set_status(*status);
      const std::string name = grpc::health::v1::HealthCheckResponse::ServingStatus_Name(*status);
      std::cout << (json() ? JsonText(ToJson(response)) : name + "\n");
    }
    return *status == grpc::health::v1::HealthCheckResponse::SERVING ? 0 : kFailed;
  }

 private:
  std::string service_;
  bool quiet_ = false;
};

}  // namespace

std::unique_ptr<Command> AddHealth(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<HealthCommand>(program, shared);
}

}  // namespace peerage::client
