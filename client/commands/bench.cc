#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "base/command_line/parse.h"
#include "base/command_line/progress_bar.h"
#include "base/status_macros.h"
#include "client/bench/comparison.h"
#include "client/bench/grpc_calls.h"
#include "client/bench/load_chart.h"
#include "client/bench/load_run.h"
#include "client/bench/run_report.h"
#include "client/commands/bench_options.h"
#include "client/commands/bench_results.h"
#include "client/commands/command.h"

namespace peerage::client {
namespace {

// Half of what a server of ours takes on one connection: none of the streams waits for another.
constexpr uint32_t kStreamsOfAConnection = 256;
constexpr uint32_t kMostConnections = 64;

class BenchCommand : public Command {
 public:
  BenchCommand(CLI::App& program, const SharedOptions& shared)
      : Command(
            program, shared,
            {.name = "bench",
             .description = "Measure how a server answers under load",
             .examples = {"bench --request-rate 4 --num-prompts 200 --goodput ttft:500 tpot:30",
                          "bench --max-concurrency 1,8,64 --random-input-len 256 --png load.png",
                          "bench --mode score --random-prefix-len 512 --score-continuations 4",
                          "bench --compare before.json after.json"}}),
        options_(app()) {}

  absl::Status Prepare() override {
    if (!options_.compare().empty()) return PrepareComparison();
    ASSIGN_OR_RETURN(plan_, options_.ReadPlan());
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (comparison_) {
      const std::vector<std::string>& files = options_.compare();
      std::cout << (json() ? JsonText(ComparisonJson(*comparison_))
                           : ComparisonText(*comparison_, files[0], files[1]));
      return 0;
    }
    RETURN_IF_ERROR(AskServer(client));
    if (const std::string wrong = WhatDoesNotFit(); !wrong.empty()) {
      std::cerr << "peerage: " << wrong << "\n";
      return kWrongUsage;
    }
    std::unique_ptr<Workload> random;
    if (plan_.dataset == nullptr) {
      random = std::make_unique<RandomWorkload>(plan_.random, plan_.generate, plan_.score_request);
    }
    const Workload& workload = random ? *random : *plan_.dataset;
    const std::unique_ptr<Calls> calls = Connect(workload);
    RETURN_IF_ERROR(WarmUp(*calls));
    for (const Traffic& load : plan_.loads) {
      if (stopped()) break;
      RETURN_IF_ERROR(RunLoad(client, *calls, load));
    }
    if (points_.empty()) return kFailed;
    if (points_.size() > 1 && !json()) std::cout << LoadTable(points_) << std::flush;
    RETURN_IF_ERROR(results_.Draw(points_));
    const auto served = [](const LoadPoint& point) { return point.figures.completed > 0; };
    return std::any_of(points_.begin(), points_.end(), served) ? 0 : kFailed;
  }

  // What there is so far is still printed.
  bool OnInterrupt(Client& client) override {
    client.Cancel();
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    if (running_ != nullptr) running_->Stop();
    return false;
  }

 private:
  absl::Status PrepareComparison() {
    const std::vector<std::string>& files = options_.compare();
    if (files.size() != 2) return absl::InvalidArgumentError("--compare takes two files");
    ASSIGN_OR_RETURN(const std::vector<Json> before, ReadResults(files[0]));
    ASSIGN_OR_RETURN(const std::vector<Json> after, ReadResults(files[1]));
    ASSIGN_OR_RETURN(comparison_, Compare(before, after));
    return absl::OkStatus();
  }

  // Which model it is, and what it takes.
  absl::Status AskServer(Client& client) {
    ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
    for (const v1::Model& model : models.models()) {
      if (plan_.model.empty() || model.name() == plan_.model) {
        model_ = model;
        break;
      }
    }
    if (model_.name().empty()) return absl::NotFoundError("there is no model " + plan_.model);
    plan_.random.vocabulary_size = model_.vocabulary_size();
    ASSIGN_OR_RETURN(const v1::GetServerStatusResponse status, client.GetServerStatus());
    server_version_ = status.version();
    return absl::OkStatus();
  }

  // Random prompts that the model would refuse, each of them.
  std::string WhatDoesNotFit() const {
    if (plan_.dataset != nullptr) return "";
    const uint64_t longest =
        uint64_t{plan_.random.prefix_length} + plan_.random.input.most + plan_.random.output.most;
    if (longest <= model_.context_length()) return "";
    return absl::StrCat("--random-prefix-len, --random-input-len and --random-output-len come to ",
                        longest, " tokens, and the model's context has ", model_.context_length());
  }

  std::unique_ptr<Calls> Connect(const Workload& workload) const {
    uint32_t at_once = 0;
    for (const Traffic& load : plan_.loads) {
      at_once = std::max(at_once, load.max_concurrency.value_or(plan_.num_prompts));
    }
    at_once = std::min(at_once, plan_.num_prompts);
    const uint32_t connections = (at_once + kStreamsOfAConnection - 1) / kStreamsOfAConnection;
    const ClientOptions client = *client_options();
    const GrpcCallsOptions options{
        .server = client.server,
        .timeout = client.timeout,
        .connections = static_cast<int>(std::min(connections, kMostConnections)),
        .keep_text = options_.output().detail,
        .credentials = client.credentials};
    return plan_.score ? MakeScoreCalls(options, workload) : MakeGenerateCalls(options, workload);
  }

  // Each run has calls of its own, and so has the warm-up, whose number comes after them: a cache
  // must not know their prompts.
  size_t FirstCall(size_t run) const { return run * plan_.num_prompts; }

  absl::Status WarmUp(Calls& calls) {
    if (plan_.num_warmups == 0) return absl::OkStatus();
    const uint32_t at_once = plan_.loads.front().max_concurrency.value_or(plan_.num_warmups);
    const RunRecords records = Make(calls, {.traffic = {.max_concurrency = at_once},
                                            .count = plan_.num_warmups,
                                            .retries = plan_.retries,
                                            .first_call = FirstCall(plan_.loads.size())});
    for (const CallRecord& call : records.calls) RETURN_IF_ERROR(call.status);
    return absl::OkStatus();
  }

  absl::Status RunLoad(Client& client, Calls& calls, const Traffic& load) {
    if (plan_.experts) RETURN_IF_ERROR(ForgetExperts(client));
    const RunDescription description = Describe(load);
    const RunRecords records = Make(calls, {.traffic = load,
                                            .count = plan_.num_prompts,
                                            .seed = plan_.seed,
                                            .retries = plan_.retries,
                                            .first_call = FirstCall(points_.size())});
    const RunFigures& figures =
        points_
            .emplace_back(LoadPoint{description, FiguresOf(records, plan_.percents, plan_.goodput)})
            .figures;
    Json json_line = RunJson(description, figures, records, options_.output().detail);
    if (plan_.experts && !stopped()) {
      ASSIGN_OR_RETURN(json_line["experts"], ReadExperts(client));
    }
    std::cout << (json() ? JsonLine(json_line) : RunText(description, figures)) << std::flush;
    return results_.Save(description, json_line);
  }

  RunRecords Make(Calls& calls, const LoadRunOptions& options) {
    LoadRun run(options, calls);
    {
      absl::MutexLock lock(&mu_);
      running_ = &run;
      if (stopped_) run.Stop();
    }
    ProgressBar bar;
    const bool terminal = isatty(STDERR_FILENO) != 0;
    const std::string of_what = absl::StrCat("of ", options.count, " requests");
    const RunRecords records = run.Run([&](size_t ended) {
      if (terminal) bar.Show(ended, options.count, of_what);
    });
    absl::MutexLock lock(&mu_);
    running_ = nullptr;
    return records;
  }

  RunDescription Describe(const Traffic& load) const {
    return {.score = plan_.score,
            .label = options_.output().label,
            .date = absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()),
            .model = model_.name(),
            .fingerprint = model_.fingerprint(),
            .server_version = server_version_,
            .num_prompts = plan_.num_prompts,
            .seed = plan_.seed,
            .traffic = load,
            .goodput = plan_.goodput,
            .shown = plan_.shown};
  }

  absl::Status ForgetExperts(Client& client) const {
    v1::ResetExpertUsageRequest request;
    request.set_model(plan_.model);
    return client.ResetExpertUsage(request);
  }

  absl::StatusOr<Json> ReadExperts(Client& client) const {
    v1::WatchExpertSummaryRequest request;
    request.set_model(plan_.model);
    request.set_window(v1::USAGE_WINDOW_TOTAL);
    Json layers;
    const auto take = [&layers](const v1::WatchExpertSummaryResponse& summary) {
      layers = ToJson(summary)["layers"];
      return false;
    };
    RETURN_IF_ERROR(client.WatchExpertSummary(request, take));
    return layers;
  }

  bool stopped() {
    absl::MutexLock lock(&mu_);
    return stopped_;
  }

  const BenchOptions options_;
  std::optional<Comparison> comparison_;  // in place of runs
  BenchPlan plan_;
  v1::Model model_;
  std::string server_version_;
  std::vector<LoadPoint> points_;
  BenchResults results_{options_};

  absl::Mutex mu_;
  LoadRun* running_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

std::unique_ptr<Command> AddBench(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<BenchCommand>(program, shared);
}

}  // namespace peerage::client
