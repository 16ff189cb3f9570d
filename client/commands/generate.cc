#include <unistd.h>

#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/command_line/options.h"
#include "base/command_line/parse.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "client/answer_report.h"
#include "client/call_status.h"
#include "client/commands/command.h"
#include "client/commands/expert_control.h"
#include "client/commands/hidden_options.h"
#include "client/commands/many_calls.h"
#include "client/commands/options.h"
#include "client/commands/text_input.h"
#include "client/terminal_text.h"
#include "client/token_texts.h"
#include "client/unbroken_generation.h"

namespace peerage::client {
namespace {

class GenerateCommand : public Command {
 public:
  GenerateCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "generate",
                 .description = "Continue a prompt, printing the text as it comes",
                 .examples = {"generate \"Once upon a time\" --max-tokens 40 --seed 1",
                              "generate --chat \"Name three rivers.\" --temperature 0",
                              "generate --file prompts.jsonl --parallel 8 --json",
                              "generate \"Once upon\" --hidden-states 0,12 --npy rows.npy"}}),
        prompt_(app(), "prompt"),
        file_(app(), "prompts, one a line",
              "\"prompt\" (a text or token ids) or \"messages\" (of role and content), and \"id\""),
        generation_(app()),
        trace_(app()),
        control_(app()),
        hidden_(app()) {
    AddOptionalNumber(app(), "--candidates", candidates_, "Independent answers, 1 to 16")
        ->default_str("1");
    AddOptionalNumber(app(), "--logprobs", logprobs_,
                      "Print log-probabilities, with so many alternatives per token");
    AddOptionalNumber(
        app(), "--retries", retries_,
        "Tries to go on with a text that breaks off while it comes, as if it had not; "
        "0 never does",
        {.most = 100})
        ->default_str("5");
    AddOptionalNumber(app(), "--parallel", parallel_, "Prompts of --file that run at once",
                      {.least = 1, .most = 1024})
        ->default_str("4");
  }

  absl::Status Prepare() override {
    ASSIGN_OR_RETURN(asked_, control_.Read());
    if (!file_.given()) {
      ASSIGN_OR_RETURN(const v1::Prompt prompt, prompt_.Read());
      items_.push_back({.request = RequestOf(prompt)});
      return hidden_.Set(json(), items_.front().request);
    }
    if (prompt_.given())
      return absl::InvalidArgumentError("--file stands for the prompt: leave it out");
    if (!json() && (logprobs_ || trace_.level() != v1::EXPERT_TRACE_LEVEL_UNSPECIFIED)) {
      return absl::InvalidArgumentError("--logprobs and --trace of a --file need --json");
    }
    if (hidden_.given()) {
      return absl::InvalidArgumentError("--hidden-states is for one prompt: leave out --file");
    }
    ASSIGN_OR_RETURN(const std::vector<InputLine> lines,
                     ReadLines("--file", file_.path(), file_.format()));
    for (const InputLine& line : lines) {
      ASSIGN_OR_RETURN(Item item, At(absl::StrCat("--file line ", line.number), ReadItem(line)));
      items_.push_back(std::move(item));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (file_.given()) return RunFile(client);
    const v1::GenerateRequest& request = items_.front().request;
    return json() ? PrintJson(client, request) : PrintStream(client, request);
  }

 private:
  struct Item {
    size_t line = 0;
    std::optional<Json> id;
    v1::GenerateRequest request;
  };

  v1::GenerateRequest RequestOf(const v1::Prompt& prompt) const {
    v1::GenerateRequest request;
    *request.mutable_prompt() = prompt;
    request.set_model(prompt_.model());
    generation_.Set(request);
    if (candidates_) request.mutable_sampling()->set_candidates(*candidates_);
    if (logprobs_) request.mutable_output()->set_logprobs(*logprobs_);
    request.mutable_output()->set_expert_trace(trace_.level());
    if (asked_) *request.mutable_expert_control() = *asked_;
    return request;
  }

  absl::StatusOr<Item> ReadItem(const InputLine& line) const {
    Item item{.line = line.number};
    if (!line.object.has_value()) {
      item.request = RequestOf(prompt_.OfText(line.text));
      return item;
    }
    JsonObject object(*line.object, "");
    if (const nlohmann::json* id = object.Find("id")) item.id = *id;
    const nlohmann::json* text = object.Find("prompt");
    const nlohmann::json* messages = object.Find("messages");
    RETURN_IF_ERROR(object.RefuseUnreadKeys());
    if (text != nullptr && messages != nullptr) {
      return absl::InvalidArgumentError("prompt and messages exclude each other");
    }
    if (text == nullptr && messages == nullptr) {
      return absl::InvalidArgumentError("one of prompt and messages is needed");
    }
    ASSIGN_OR_RETURN(const v1::Prompt prompt, messages != nullptr
                                                  ? prompt_.OfMessages(*messages)
                                                  : prompt_.OfJson("prompt", *text));
    item.request = RequestOf(prompt);
    return item;
  }

  absl::StatusOr<int> PrintJson(Client& client, const v1::GenerateRequest& request) {
    ASSIGN_OR_RETURN(const v1::GenerateResponse response, client.Generate(request));
    RETURN_IF_ERROR(hidden_.Write(response.hidden_states()));
    ASSIGN_OR_RETURN(const Json answer, AnswerJson(response, client, request.model()));
    std::cout << JsonText(answer);
    return 0;
  }

  static void SayThatItBroke(const absl::Status& why, absl::Duration delay) {
    // Where both meet on a terminal, not in the middle of a line of the text.
    const bool meet = isatty(STDOUT_FILENO) != 0 && isatty(STDERR_FILENO) != 0;
    std::cerr << absl::StrCat(meet ? "\n" : "", "peerage: the text broke off (",
                              EscapeText(DescribeError(why)), "), going on in ",
                              FormatInterval(delay), "\n");
  }

  absl::StatusOr<int> PrintStream(Client& client, const v1::GenerateRequest& request) {
    v1::GenerateStreamRequest stream;
    *stream.mutable_request() = request;
    GenerationReport report(candidates_.value_or(1));
    ResumeOptions resume{.on_break = SayThatItBroke};
    if (retries_) resume.retries = static_cast<int>(*retries_);
    const absl::Status status = GenerateUnbroken(
        client, stream, resume, [&report](const v1::GenerateStreamResponse& event) {
          std::cout << report.Add(event) << std::flush;
          return std::cout.good();
        });
    std::cout << report.End() << std::flush;
    if (!status.ok()) return status;
    RETURN_IF_ERROR(hidden_.Write(report.HiddenStates()));
    if (logprobs_) {
      ASSIGN_OR_RETURN(const TokenTexts texts,
                       TokenTexts::Read(client, request.model(), report.TokenIds()));
      std::cout << report.LogprobTable(texts);
    }
    if (trace_.level() > v1::EXPERT_TRACE_LEVEL_NONE) {
      ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
      std::cout << report.ExpertTraces(ExpertNames(models));
    }
    if (isatty(STDERR_FILENO)) std::cerr << report.Summary();
    return 0;
  }

  absl::StatusOr<int> RunFile(Client& client) {
    size_t failed = 0;
    const auto call = [&](size_t i) { return client.Generate(items_[i].request); };
    const auto print = [&](size_t i, const absl::StatusOr<v1::GenerateResponse>& response) {
      const absl::Status printed = Print(client, items_[i], response);
      if (!printed.ok()) {
        ++failed;
        PrintFailure(items_[i].line, printed);
      }
      return std::cout.good() && !absl::IsCancelled(printed);
    };
    CallMany<v1::GenerateResponse>({.count = items_.size(), .parallel = parallel_.value_or(4)},
                                   call, print);
    return failed == 0 ? 0 : kFailed;
  }

  // A line of JSONL, or the answer on one line.
  absl::Status Print(Client& client, const Item& item,
                     const absl::StatusOr<v1::GenerateResponse>& response) {
    if (!json()) {
      if (!response.ok()) return response.status();
      for (const v1::Candidate& candidate : response->candidates()) {
        std::cout << EscapeText(candidate.text()) << "\n";
      }
      std::cout << std::flush;
      return absl::OkStatus();
    }
    Json line = {{"line", item.line}};
    if (item.id) line["id"] = *item.id;
    if (response.ok()) {
      ASSIGN_OR_RETURN(const Json answer, AnswerJson(*response, client, item.request.model()));
      line.update(answer);
    } else {
      line["error"] = ErrorJson(response.status());
    }
    std::cout << JsonLine(line) << std::flush;
    return response.status();
  }

  PromptOptions prompt_;
  FileOptions file_;
  GenerationOptions generation_;
  TraceOption trace_;
  ExpertControlOption control_;
  HiddenOptions hidden_;
  std::optional<uint32_t> candidates_, logprobs_, retries_, parallel_;

  std::optional<v1::ExpertControl> asked_;
  std::vector<Item> items_;
};

}  // namespace

std::unique_ptr<Command> AddGenerate(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<GenerateCommand>(program, shared);
}

}  // namespace peerage::client
