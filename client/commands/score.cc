#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "client/answer_report.h"
#include "client/commands/command.h"
#include "client/commands/expert_control.h"
#include "client/commands/hidden_options.h"
#include "client/commands/options.h"
#include "client/commands/score_file.h"
#include "client/commands/text_input.h"
#include "client/expert_report.h"
#include "client/score_report.h"
#include "client/token_texts.h"

namespace peerage::client {
namespace {

class ScoreCommand : public Command {
 public:
  ScoreCommand(CLI::App& program, const SharedOptions& shared)
      : Command(
            program, shared,
            {.name = "score",
             .description = "How likely are these continuations of a context, or the texts of a "
                            "file?",
             .examples = {"score \"2 + 2 =\" --continuation \" 4\" --continuation \" 5\"",
                          "score --file texts.txt", "score --file choices.jsonl --json"}}),
        context_(app(), "context"),
        file_(app(), "texts, one a line",
              "\"context\" and \"continuations\" (texts or token ids), or \"text\" or \"ids\", and "
              "\"id\""),
        trace_(app()),
        control_(app()),
        hidden_(app()) {
    AddTexts(app(), "-c,--continuation", continuations_, "A continuation; may be repeated");
    AddTexts(app(), "--continuation-ids", continuation_ids_,
             "A continuation of token ids, as --ids takes them; may be repeated, and comes behind "
             "those of text")
        ->type_name("IDS");
    AddOptionalNumber(app(), "--logprobs", logprobs_,
                      "Show each token, with so many alternatives; of --file with --json");
  }

  absl::Status Prepare() override {
    ASSIGN_OR_RETURN(const std::optional<v1::ExpertControl> asked, control_.Read());
    RETURN_IF_ERROR(file_.given() ? PrepareFile() : PrepareRequest());
    if (!asked.has_value()) return absl::OkStatus();
    *request_.mutable_expert_control() = *asked;
    for (ScoreItem& item : items_) *item.request.mutable_expert_control() = *asked;
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (file_.given()) {
      return ScoreFile(client, items_, {.json = json(), .tokens = logprobs_.has_value()});
    }
    ASSIGN_OR_RETURN(const v1::ScoreResponse response, client.Score(request_));
    RETURN_IF_ERROR(hidden_.Write(response.hidden_states()));
    if (!json()) return PrintTables(client, response);
    ASSIGN_OR_RETURN(const Json answer, AnswerJson(response, client, request_.model()));
    std::cout << JsonText(answer);
    return 0;
  }

 private:
  absl::Status PrepareRequest() {
    if (continuations_.empty() && continuation_ids_.empty()) {
      return absl::InvalidArgumentError("--continuation is missing (or --file)");
    }
    ASSIGN_OR_RETURN(*request_.mutable_context(), context_.Read());
    request_.set_model(context_.model());
    request_.set_expert_trace(trace_.level());
    if (logprobs_) request_.set_logprobs(*logprobs_);
    for (const std::string& text : continuations_) request_.add_continuations()->set_text(text);
    for (const std::string& given : continuation_ids_) {
      ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, ReadIds("--continuation-ids", given));
      request_.add_continuations()->mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    }
    return hidden_.Set(json(), request_);
  }

  absl::Status PrepareFile() {
    if (context_.given() || !continuations_.empty() || !continuation_ids_.empty()) {
      return absl::InvalidArgumentError("--file has contexts and continuations: leave out others");
    }
    if (trace_.level() != v1::EXPERT_TRACE_LEVEL_UNSPECIFIED) {
      return absl::InvalidArgumentError("--trace is for one context: leave out --file");
    }
    if (hidden_.given()) {
      return absl::InvalidArgumentError("--hidden-states is for one context: leave out --file");
    }
    if (logprobs_.has_value() && !json()) {
      return absl::InvalidArgumentError("--logprobs of a --file need --json");
    }
    ASSIGN_OR_RETURN(items_, ReadScoreItems(file_, context_));
    if (!logprobs_.has_value()) return absl::OkStatus();
    for (ScoreItem& item : items_) item.request.set_logprobs(*logprobs_);
    return absl::OkStatus();
  }

  absl::StatusOr<int> PrintTables(Client& client, const v1::ScoreResponse& response) {
    TokenTexts texts;
    if (logprobs_.has_value() || !continuation_ids_.empty()) {
      ASSIGN_OR_RETURN(texts,
                       TokenTexts::Read(client, request_.model(), TokenIdsIn(ToJson(response))));
    }
    std::vector<std::string> shown = continuations_;
    for (int i = static_cast<int>(shown.size()); i < response.scores_size(); ++i) {
      shown.push_back(TextOf(response.scores(i), texts));
    }
    std::cout << ScoreTable(response, shown);
    if (logprobs_.has_value()) std::cout << ScoredTokenTable(response, texts);
    if (response.expert_trace().layers_size() == 0) return 0;
    ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
    std::cout << ExpertTraceLines(response.expert_trace(), ExpertNames(models));
    return 0;
  }

  PromptOptions context_;
  FileOptions file_;
  TraceOption trace_;
  ExpertControlOption control_;
  HiddenOptions hidden_;
  std::vector<std::string> continuations_, continuation_ids_;
  std::optional<uint32_t> logprobs_;

  v1::ScoreRequest request_;
  std::vector<ScoreItem> items_;
};

}  // namespace

std::unique_ptr<Command> AddScore(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<ScoreCommand>(program, shared);
}

}  // namespace peerage::client
