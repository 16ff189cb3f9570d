#include "model/transform/upcycle/upcycle.h"

#include <algorithm>
#include <iostream>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/command_line/options.h"
#include "base/command_line/progress_bar.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/transform/commands/choice_option.h"
#include "model/transform/commands/command.h"
#include "model/transform/commands/writing_progress.h"
#include "model/transform/upcycle/upcycle_choices.h"

namespace peerage::transform {
namespace {

constexpr int kMaxRouterStd = 100;

absl::StatusOr<NamedPath> ParseNamedPath(const char* option, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrCat(option, " ", Quoted(text), " is not NAME=PATH"));
  }
  return NamedPath{text.substr(0, equals), text.substr(equals + 1)};
}

// CLI::Range takes NaN.
std::string CheckStandardDeviation(const std::string& text) {
  double value = 0;
  const bool in_range = absl::SimpleAtod(text, &value) && value >= 0 && value <= kMaxRouterStd;
  return in_range ? "" : absl::StrCat(Quoted(text), " is not a number from 0 to ", kMaxRouterStd);
}

std::string ReportText(const UpcycleReport& report, const UpcycleOptions& options) {
  std::string text = absl::StrCat("wrote ", report.tensors, " tensors (", report.bytes,
                                  " bytes) to ", options.out, "\n");
  if (!report.expert_names.empty()) {
    absl::StrAppend(&text, "experts: ", absl::StrJoin(report.expert_names, ", "), "\n");
  }
  return text;
}

class UpcycleCommand : public Command {
 public:
  explicit UpcycleCommand(CLI::App& program)
      : Command(program, "upcycle", "Make a mixture of experts of dense models",
                {"upcycle --base general --expert law=law --expert maths=maths.gguf --out mixture",
                 "upcycle --base general --num-experts 4 --allow-identical --out sparse"}) {
    AddModels();
    AddExperts();
    AddRouters();
  }

  absl::Status Check() override {
    for (const std::string& text : experts_) {
      ASSIGN_OR_RETURN(NamedPath expert, ParseNamedPath("--expert", text));
      options_.experts.push_back(std::move(expert));
    }
    options_.num_experts = num_experts_.value_or(0);
    RETURN_IF_ERROR(RefuseWithoutEffect());
    for (const std::string& text : prompts_) {
      ASSIGN_OR_RETURN(NamedPath prompts, ParseNamedPath("--prompts", text));
      options_.prompts.push_back(std::move(prompts));
    }
    TakeNumbers();
    return options_.Validate();
  }

  absl::Status Run() override {
    UpcycleOptions options = options_;
    options.program = "peerage-model " PEERAGE_VERSION;
    ProgressBar bar;
    options.progress = ShowWriting(bar);
    options.prompt_progress = [&bar](size_t read, size_t total) {
      bar.Show(read, total, absl::StrCat("of ", total, " tokens of prompts"));
      if (read == total) bar.Clear();
    };
    ASSIGN_OR_RETURN(const UpcycleReport report, Upcycle(options));
    bar.Clear();
    for (const std::string& warning : report.warnings) {
      std::cerr << "peerage-model: warning: " << warning << "\n";
    }
    std::cout << ReportText(report, options);
    return absl::OkStatus();
  }

 private:
  void TakeNumbers() {
    options_.attention_top_k = attention_top_k_;
    options_.top_k = top_k_.value_or(options_.top_k);
    options_.zero_experts = zero_experts_.value_or(0);
    options_.copy_experts = copy_experts_.value_or(0);
    options_.constant_experts = constant_experts_.value_or(0);
    options_.threads = threads_.value_or(options_.threads);
    options_.random_seed = random_seed_.value_or(options_.random_seed);
  }

  // What was given, but nothing would look at.
  absl::Status RefuseWithoutEffect() {
    const bool mixture = options_.MakesMixture();
    const bool random_routers = mixture && options_.routers == RouterInit::kRandom;
    constexpr char kOneModel[] = "one model makes no mixture";
    const struct {
      const char* option;
      bool has_effect;
      const char* why_not;
    } rules[] = {
        {"--attention", mixture, kOneModel},
        {"--attention-top-k", mixture, kOneModel},
        {"--top-k", mixture, kOneModel},
        {"--normalize-top-k", mixture, kOneModel},
        {"--zero-experts", mixture, kOneModel},
        {"--copy-experts", mixture, kOneModel},
        {"--constant-experts", mixture, kOneModel},
        {"--gating-residual", mixture, kOneModel},
        {"--routers", mixture, kOneModel},
        {"--attention-top-k", HasAttentionExperts(options_.attention),
         "--attention average and base make no attention experts"},
        {"--prompts", mixture && options_.routers == RouterInit::kPrompts,
         "they are for the --routers prompts of a mixture"},
        {"--threads", mixture && options_.routers == RouterInit::kPrompts,
         "it is for the --routers prompts of a mixture"},
        {"--router-std", random_routers, "it is for the --routers random of a mixture"},
        {"--random-seed", random_routers || !options_.peers.empty(),
         "neither routers nor a --peer are random"},
    };
    for (const auto& rule : rules) {
      if (app().count(rule.option) == 0 || rule.has_effect) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(rule.option, " has no effect: ", rule.why_not));
    }
    return absl::OkStatus();
  }

  void AddModels() {
    AddPath("--base", options_.base.path,
            "Dense model that is expert 0: a directory or a .gguf file")
        ->required();
    app()
        .add_option("--base-name", options_.base.name, "Its name among the experts")
        ->type_name("NAME")
        ->capture_default_str();
    CLI::Option* experts =
        app()
            .add_option("--expert", experts_, "A further expert of the base's shape; repeatable")
            ->type_name("NAME=PATH");
    AddOptionalNumber(app(), "--num-experts", num_experts_,
                      "So many copies of the base, instead of --expert", {1, 256})
        ->excludes(experts)
        ->default_str("none");
    app().add_flag("--allow-identical", options_.allow_identical,
                   "Allow experts with the same weights");
    AddPath("--out", options_.out, "Directory that gets the model")->required()->type_name("DIR");
    AddChoice(app(), "--dtype", kUpcycledDtypes, options_.dtype)->description("Of all tensors");
  }

  void AddExperts() {
    AddChoice(app(), "--attention", kUpcycledAttentions, options_.attention)
        ->description(
            "expert or shared: attention experts, with keys and values of their own or "
            "shared (BAM); average: of all (BTX); base: the base's");
    AddOptionalNumber(app(), "--attention-top-k", attention_top_k_,
                      "Attention experts of a token; all of them is soft routing", {1, 256})
        ->default_str("all");
    AddOptionalNumber(app(), "--top-k", top_k_, "FFN experts of a token", {1, 256})
        ->default_str(absl::StrCat(options_.top_k));
    app().add_flag("--normalize-top-k", options_.normalize_top_k,
                   "Make the gates of the chosen experts sum to 1");
    AddCount("--zero-experts", zero_experts_, "give nothing");
    AddCount("--copy-experts", copy_experts_, "give what they read");
    AddCount("--constant-experts", constant_experts_,
             "give a trained mix of what they read and a vector");
    app().add_flag("--gating-residual", options_.gating_residual,
                   "Let the FFN routers of later layers see the logits of earlier ones");
    app()
        .add_option("--peer", options_.peers,
                    "A PEER memory beside a layer's FFN, for example "
                    "layer=15,experts=65536,heads=8,top_k=16,key_dim=128; repeatable")
        ->type_name("FIELDS");
  }

  // Experts of MoE++ beside the models' FFNs.
  void AddCount(const char* option, std::optional<int>& count, const char* what) {
    AddOptionalNumber(app(), option, count, absl::StrCat("FFN experts that ", what), {0, 255})
        ->default_str("0");
  }

  void AddRouters() {
    AddChoice(app(), "--routers", kRouterInits, options_.routers)->description("How routers begin");
    app()
        .add_option("--prompts", prompts_,
                    "A text file of an expert, for --routers prompts: every line is a prompt of "
                    "what it is for; repeatable")
        ->type_name("NAME=FILE");
    AddOptionalNumber(app(), "--threads", threads_, "Threads that read prompts", {1, 1024})
        ->default_str("the machine's");
    app()
        .add_option("--router-std", options_.router_std, "Standard deviation of random routers")
        ->check(CheckStandardDeviation)
        ->type_name("STD")
        ->capture_default_str();
    AddOptionalNumber(app(), "--random-seed", random_seed_, "Of random routers and PEER memories")
        ->default_str("0");
  }

  UpcycleOptions options_{
      .base = {.name = "base"},
      .threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
  std::vector<std::string> experts_;
  std::vector<std::string> prompts_;
  std::optional<int> num_experts_, attention_top_k_, top_k_, threads_;
  std::optional<int> zero_experts_, copy_experts_, constant_experts_;
  std::optional<uint64_t> random_seed_;
};

}  // namespace

std::unique_ptr<Command> AddUpcycle(CLI::App& program) {
  return std::make_unique<UpcycleCommand>(program);
}

}  // namespace peerage::transform
