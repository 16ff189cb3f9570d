#include <iostream>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "client/answer_report.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/expert_report.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

class ScoreCommand : public Command {
 public:
  explicit ScoreCommand(CLI::App& program)
      : Command(program, "score", "How likely are these continuations of a context?"),
        context_(app(), "context"),
        trace_(app()) {
    app()
        .add_option("-c,--continuation", continuations_, "A continuation; may be repeated")
        ->allow_extra_args(false)  // the next word is not another one
        ->take_all()
        ->required()
        ->type_name("TEXT");
  }

  absl::Status Prepare() override {
    ASSIGN_OR_RETURN(*request_.mutable_context(), context_.Read());
    request_.set_model(context_.model());
    request_.set_expert_trace(trace_.level());
    for (const std::string& text : continuations_) request_.add_continuations()->set_text(text);
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    ASSIGN_OR_RETURN(const v1::ScoreResponse response, client.Score(request_));
    if (json()) {
      std::cout << ToJson(response);
      return 0;
    }
    std::cout << ScoreTable(response, continuations_);
    if (response.expert_trace().layers_size() == 0) return 0;
    ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
    std::cout << ExpertTraceLines(response.expert_trace(), ExpertNames(models));
    return 0;
  }

 private:
  PromptOptions context_;
  TraceOption trace_;
  std::vector<std::string> continuations_;
  v1::ScoreRequest request_;
};

}  // namespace

std::unique_ptr<Command> AddScore(CLI::App& program) {
  return std::make_unique<ScoreCommand>(program);
}

}  // namespace peerage::client
