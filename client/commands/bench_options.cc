#include "client/commands/bench_options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/command_line/options.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "client/commands/bench_dataset.h"
#include "client/commands/bench_values.h"
#include "client/commands/options.h"

namespace peerage::client {
namespace {

constexpr uint32_t kMostCalls = 10'000'000;
constexpr uint32_t kMostTokens = 1 << 24;
constexpr uint32_t kPrompts = 1000;  // this and the lengths as vLLM has them
constexpr uint32_t kInputLen = 1024;
constexpr uint32_t kOutputLen = 128;
constexpr uint32_t kCustomOutputLen = 256;

}  // namespace

BenchOptions::BenchOptions(CLI::App& app) {
  AddWord(app, "--mode", mode_, "generate|score", "What each request is")->default_str(mode_);
  AddModelOption(app, model_);
  AddLoad(app);
  AddTokens(app);
  AddSampling(app);
  AddReport(app);
  AddResults(app);
}

void BenchOptions::AddLoad(CLI::App& app) {
  AddOptionalNumber(app, "--num-prompts", num_prompts_, "Requests of a run",
                    {.least = 1, .most = kMostCalls})
      ->default_str("1000, or the lines of --dataset-path");
  AddOptionalNumber(app, "--num-warmups", num_warmups_, "Requests before it, which do not count",
                    {.least = 0, .most = kMostCalls})
      ->default_str("0");
  app.add_option("--request-rate", request_rate_,
                 "Requests a second, however long answers take; inf sends all at once; a run for "
                 "each of several")
      ->default_str(request_rate_)
      ->type_name("N[,N...]");
  AddOptionalNumber(app, "--burstiness", burstiness_,
                    "Shape of the intervals: 1 is a Poisson process, less is more bursty",
                    {.least = 1e-3, .most = 1e6})
      ->default_str("1");
  app.add_option("--max-concurrency", max_concurrency_,
                 "Requests at once: the next waits for an answer; a run for each of several")
      ->default_str("no limit")
      ->type_name("N[,N...]");
  AddWord(app, "--ramp-up-strategy", ramp_up_strategy_, "linear|exponential",
          "How the rate grows, in place of --request-rate")
      ->default_str("none");
  AddOptionalNumber(app, "--ramp-up-start-rps", ramp_up_start_, "Requests a second at first",
                    {.least = 1e-3, .most = kLargestRate});
  AddOptionalNumber(app, "--ramp-up-end-rps", ramp_up_end_, "Requests a second at last",
                    {.least = 1e-3, .most = kLargestRate});
  AddOptionalNumber(app, "--retries", retries_,
                    "Send what the server refuses for now again, so often, when it says so",
                    {.least = 0, .most = 1000})
      ->default_str("0");
  AddOptionalNumber(app, "--seed", seed_, "Of lengths, tokens, times and sampling")
      ->default_str("0");
}

void BenchOptions::AddTokens(CLI::App& app) {
  AddWord(app, "--dataset-name", dataset_name_, "random|custom",
          "Random token ids, or the lines of --dataset-path")
      ->default_str(dataset_name_);
  app.add_option("--dataset-path", dataset_path_,
                 "JSONL with \"prompt\" (a text or token ids) or \"messages\", and \"output_len\"; "
                 "of scores with \"context\" and \"continuations\"")
      ->type_name("FILE");
  AddOptionalNumber(app, "--custom-output-len", custom_output_len_,
                    "Longest answer to a line without output_len",
                    {.least = 1, .most = kMostTokens})
      ->default_str(absl::StrCat(kCustomOutputLen));
  AddOptionalNumber(app, "--random-input-len", input_len_, "Tokens of a prompt or context",
                    {.least = 0, .most = kMostTokens})
      ->default_str(absl::StrCat(kInputLen));
  AddOptionalNumber(app, "--random-output-len", output_len_,
                    "Tokens to generate, or of each continuation",
                    {.least = 1, .most = kMostTokens})
      ->default_str(absl::StrCat(kOutputLen));
  AddOptionalNumber(app, "--random-range-ratio", range_ratio_,
                    "Lengths are even over LEN * (1 - RATIO) to LEN * (1 + RATIO)",
                    {.least = 0, .most = 0.999999})
      ->default_str("0");
  AddOptionalNumber(app, "--random-prefix-len", prefix_len_,
                    "Tokens in front of them that all prompts or contexts share",
                    {.least = 0, .most = kMostTokens})
      ->default_str("0");
  AddOptionalNumber(app, "--score-continuations", continuations_, "Continuations of each context",
                    {.least = 1, .most = 1024})
      ->default_str("1");
}

void BenchOptions::AddSampling(CLI::App& app) {
  draw_.AddTo(app);
  AddOptionalNumber(app, "--logprobs", logprobs_, "Ask for log-probabilities, with N alternatives");
  AddOptionalFlag(app, "--ignore-eos,!--no-ignore-eos", ignore_eos_,
                  "Go on after the end-of-sequence token")
      ->default_str("on for random tokens");
}

void BenchOptions::AddReport(CLI::App& app) {
  std::vector<std::string> metrics;
  for (const LatencyName& name : LatencyNames()) metrics.emplace_back(name.key);
  app.add_option("--percentile-metrics", percentile_metrics_,
                 absl::StrCat("Latencies to print, of ", absl::StrJoin(metrics, ", ")))
      ->default_str("ttft,tpot,itl; of scores e2el")
      ->type_name("NAME[,NAME...]");
  app.add_option("--metric-percentiles", metric_percentiles_, "Their percentiles")
      ->default_str(metric_percentiles_)
      ->type_name("N[,N...]");
  app.add_option("--goodput", goodput_,
                 "Count the requests that keep these bounds: ttft:MS tpot:MS e2el:MS")
      ->expected(1, 3)
      ->type_name("NAME:MS");
  app.add_flag("--experts", experts_,
               "Say which experts the run used; starts the server's total window anew");
}

void BenchOptions::AddResults(CLI::App& app) {
  app.add_flag("--save-result", output_.save, "Write a line of JSON for each run");
  app.add_flag("--append-result", output_.append, "Add them to the file's: runs of one kind");
  app.add_flag("--save-detailed", output_.detail,
               "Texts and gaps between tokens of each request, too");
  app.add_option("--result-filename", output_.result_filename, "Where to")
      ->default_str("made of rate, concurrency, model and time")
      ->type_name("FILE");
  app.add_option("--label", output_.label, "What the result calls itself")->type_name("TEXT");
  app.add_option("--png", output_.png, "Draw latency and throughput against load")
      ->type_name("FILE");
  app.add_option(
         "--compare", compare_,
         "Only compare two files of results: a table of ratios, and what is more than noise")
      ->expected(1, 2)
      ->type_name("FILE");
}

absl::StatusOr<BenchPlan> BenchOptions::ReadPlan() const {
  BenchPlan plan;
  plan.score = mode_ == "score";
  plan.model = model_;
  plan.num_prompts = num_prompts_.value_or(kPrompts);
  plan.num_warmups = num_warmups_.value_or(0);
  plan.retries = retries_.value_or(0);
  plan.seed = seed_.value_or(0);
  plan.experts = experts_;
  SetRequests(plan);
  ASSIGN_OR_RETURN(plan.loads, ReadLoads());
  RETURN_IF_ERROR(ReadReport(plan));
  if (dataset_name_ == "custom") {
    RETURN_IF_ERROR(ReadDataset(plan));
  } else {
    RETURN_IF_ERROR(ReadTokens(plan));
  }
  return plan;
}

std::string BenchOptions::LoadWord() const {
  std::string word = ramp_up_strategy_.empty() ? absl::StrCat(request_rate_, "qps")
                                               : absl::StrCat("ramp-up-", ramp_up_strategy_, "-",
                                                              ramp_up_start_.value_or(0), "qps-",
                                                              ramp_up_end_.value_or(0), "qps");
  if (!max_concurrency_.empty()) absl::StrAppend(&word, "-concurrency", max_concurrency_);
  return word;
}

void BenchOptions::SetRequests(BenchPlan& plan) const {
  plan.generate.set_model(model_);
  plan.score_request.set_model(model_);
  v1::Sampling& sampling = *plan.generate.mutable_sampling();
  sampling.set_seed(plan.seed);
  draw_.Set(sampling);
  const bool ignore_eos = ignore_eos_.value_or(dataset_name_ == "random");
  plan.generate.mutable_stopping()->set_ignore_eos(ignore_eos);
  if (!logprobs_) return;
  plan.generate.mutable_output()->set_logprobs(*logprobs_);
  plan.score_request.set_logprobs(*logprobs_);
}

absl::StatusOr<std::vector<Traffic>> BenchOptions::ReadLoads() const {
  ASSIGN_OR_RETURN(const std::vector<double> rates, ParseRates(request_rate_));
  ASSIGN_OR_RETURN(const auto concurrencies, ParseConcurrencies(max_concurrency_));
  ASSIGN_OR_RETURN(const std::optional<RampUp> ramp_up, ReadRampUp());
  if (ramp_up && request_rate_ != "inf") {
    return absl::InvalidArgumentError("--ramp-up-strategy stands for --request-rate: leave it out");
  }
  if (rates.size() > 1 && concurrencies.size() > 1) {
    return absl::InvalidArgumentError(
        "--request-rate and --max-concurrency both have several values: only one of them may");
  }
  std::vector<Traffic> loads;
  for (const double rate : rates) {
    for (const std::optional<uint32_t> concurrency : concurrencies) {
      loads.push_back({.request_rate = rate,
                       .burstiness = burstiness_.value_or(1),
                       .ramp_up = ramp_up,
                       .max_concurrency = concurrency});
    }
  }
  return loads;
}

absl::StatusOr<std::optional<RampUp>> BenchOptions::ReadRampUp() const {
  const bool has_rates = ramp_up_start_.has_value() && ramp_up_end_.has_value();
  if (ramp_up_strategy_.empty()) {
    if (!ramp_up_start_ && !ramp_up_end_) return std::nullopt;
    return absl::InvalidArgumentError(
        "--ramp-up-start-rps and --ramp-up-end-rps need --ramp-up-strategy");
  }
  if (!has_rates) {
    return absl::InvalidArgumentError(
        "--ramp-up-strategy needs --ramp-up-start-rps and --ramp-up-end-rps");
  }
  if (*ramp_up_start_ > *ramp_up_end_) {
    return absl::InvalidArgumentError("--ramp-up-start-rps is above --ramp-up-end-rps");
  }
  return RampUp{.exponential = ramp_up_strategy_ == "exponential",
                .start_rps = *ramp_up_start_,
                .end_rps = *ramp_up_end_};
}

absl::Status BenchOptions::ReadReport(BenchPlan& plan) const {
  const std::string usual = plan.score ? "e2el" : "ttft,tpot,itl";
  ASSIGN_OR_RETURN(plan.shown,
                   ParseMetrics(percentile_metrics_.empty() ? usual : percentile_metrics_));
  ASSIGN_OR_RETURN(plan.percents, ParsePercents(metric_percentiles_));
  ASSIGN_OR_RETURN(plan.goodput, ParseGoodput(goodput_, plan.score));
  return absl::OkStatus();
}

absl::Status BenchOptions::ReadTokens(BenchPlan& plan) const {
  if (!dataset_path_.empty()) {
    return absl::InvalidArgumentError("--dataset-path needs --dataset-name custom");
  }
  const double ratio = range_ratio_.value_or(0);
  plan.random = {.seed = plan.seed,
                 .prefix_length = prefix_len_.value_or(0),
                 .input = RangeAround(input_len_.value_or(kInputLen), ratio, 0),
                 .output = RangeAround(output_len_.value_or(kOutputLen), ratio, 1),
                 .continuations = continuations_.value_or(1)};
  if (plan.random.prefix_length + plan.random.input.least > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "--random-input-len is too small: a prompt or context would have no tokens");
}

absl::Status BenchOptions::ReadDataset(BenchPlan& plan) const {
  if (dataset_path_.empty()) {
    return absl::InvalidArgumentError("--dataset-name custom needs --dataset-path");
  }
  const uint32_t output_len = custom_output_len_.value_or(kCustomOutputLen);
  ASSIGN_OR_RETURN(Dataset dataset,
                   plan.score ? Dataset::ReadScores(dataset_path_, plan.score_request)
                              : Dataset::ReadGenerations(dataset_path_, plan.generate, output_len));
  if (!num_prompts_) plan.num_prompts = static_cast<uint32_t>(dataset.lines());
  plan.dataset = std::make_unique<Dataset>(std::move(dataset));
  return absl::OkStatus();
}

}  // namespace peerage::client
