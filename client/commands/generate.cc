#include <unistd.h>

#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "client/answer_report.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

// Flags that were given become fields; the server checks their ranges and knows the defaults.
class GenerateCommand : public Command {
 public:
  explicit GenerateCommand(CLI::App& program)
      : Command(program, "generate", "Continue a prompt, printing the text as it comes"),
        prompt_(app(), "prompt"),
        trace_(app()) {
    AddSampling();
    AddStopping();
    app().add_option("--logprobs", logprobs_,
                     "Print log-probabilities, with this many alternatives per token");
  }

  absl::Status Prepare() override {
    ASSIGN_OR_RETURN(*request_.mutable_prompt(), prompt_.Read());
    request_.set_model(prompt_.model());
    SetSampling(request_.mutable_sampling());
    SetStopping(request_.mutable_stopping());
    if (logprobs_) request_.mutable_output()->set_logprobs(*logprobs_);
    request_.mutable_output()->set_expert_trace(trace_.level());
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (json()) {
      ASSIGN_OR_RETURN(const v1::GenerateResponse response, client.Generate(request_));
      std::cout << ToJson(response);
      return 0;
    }
    v1::GenerateStreamRequest stream;
    *stream.mutable_request() = request_;
    GenerationReport report(candidates_.value_or(1));
    const absl::Status status =
        client.GenerateStream(stream, [&](const v1::GenerateStreamResponse& event) {
          std::cout << report.Add(event) << std::flush;
        });
    std::cout << report.End() << std::flush;
    if (!status.ok()) return status;
    if (logprobs_) std::cout << report.LogprobTable();
    if (trace_.level() > v1::EXPERT_TRACE_LEVEL_NONE) {
      ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
      std::cout << report.ExpertTraces(ExpertNames(models));
    }
    if (isatty(STDERR_FILENO)) std::cerr << report.Summary();
    return 0;
  }

 private:
  void AddSampling() {
    app().add_option("--temperature", temperature_, "0 is greedy, else 0.01 to 10 (1)");
    app().add_option("--top-k", top_k_, "Sample from the k most likely tokens; 0 is all (0)");
    app().add_option("--top-p", top_p_, "Sample from this much probability mass (1)");
    app().add_option("--min-p", min_p_, "Least probability relative to the most likely token (0)");
    app().add_option("--seed", seed_, "Of the random stream (drawn by the server)");
    app().add_option("--candidates", candidates_, "Independent answers, 1 to 16 (1)");
    app().add_option("--repetition-penalty", repetition_penalty_, "Over all tokens; 1 is off (1)");
    app().add_option("--frequency-penalty", frequency_penalty_, "Per earlier occurrence (0)");
    app().add_option("--presence-penalty", presence_penalty_, "Once per earlier token (0)");
  }

  void AddStopping() {
    app().add_option("--max-tokens", max_tokens_,
                     "Longest answer (128, or what the context holds)");
    app().add_option("--min-tokens", min_tokens_, "Shortest answer (0)");
    app()
        .add_option("--stop", stop_, "End before this text; may be repeated")
        ->allow_extra_args(false)  // the next word is not another one
        ->take_all()
        ->type_name("TEXT");
    app().add_flag("--ignore-eos", ignore_eos_, "Go on after the end-of-sequence token");
  }

  void SetSampling(v1::Sampling* sampling) const {
    if (temperature_) sampling->set_temperature(*temperature_);
    if (top_k_) sampling->set_top_k(*top_k_);
    if (top_p_) sampling->set_top_p(*top_p_);
    if (min_p_) sampling->set_min_p(*min_p_);
    if (seed_) sampling->set_seed(*seed_);
    if (candidates_) sampling->set_candidates(*candidates_);
    if (repetition_penalty_) sampling->set_repetition_penalty(*repetition_penalty_);
    if (frequency_penalty_) sampling->set_frequency_penalty(*frequency_penalty_);
    if (presence_penalty_) sampling->set_presence_penalty(*presence_penalty_);
  }

  void SetStopping(v1::Stopping* stopping) const {
    if (max_tokens_) stopping->set_max_tokens(*max_tokens_);
    if (min_tokens_) stopping->set_min_tokens(*min_tokens_);
    for (const std::string& stop : stop_) stopping->add_stop(stop);
    if (ignore_eos_) stopping->set_ignore_eos(true);
  }

  PromptOptions prompt_;
  TraceOption trace_;
  std::optional<float> temperature_, top_p_, min_p_;
  std::optional<float> repetition_penalty_, frequency_penalty_, presence_penalty_;
  std::optional<uint32_t> top_k_, candidates_, max_tokens_, min_tokens_, logprobs_;
  std::optional<uint64_t> seed_;
  std::vector<std::string> stop_;
  bool ignore_eos_ = false;

  v1::GenerateRequest request_;
};

}  // namespace

std::unique_ptr<Command> AddGenerate(CLI::App& program) {
  return std::make_unique<GenerateCommand>(program);
}

}  // namespace peerage::client
