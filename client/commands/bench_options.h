#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/figures.h"
#include "client/bench/traffic.h"
#include "client/bench/workload.h"
#include "client/commands/options.h"

namespace peerage::client {

// What `peerage bench` is to do, as its flags say.
struct BenchPlan {
  bool score = false;
  std::string model;
  std::vector<Traffic> loads;  // a run of each, one after the other
  uint32_t num_prompts = 0;
  uint32_t num_warmups = 0;
  uint32_t retries = 0;
  uint64_t seed = 0;
  std::vector<double> percents;
  std::set<Latency> shown;
  Goodput goodput;
  RandomTokens random;                // but for the vocabulary's size
  std::unique_ptr<Workload> dataset;  // in place of random tokens
  v1::GenerateRequest generate;       // what all calls have in common
  v1::ScoreRequest score_request;
  bool experts = false;
};

// Where results go.
struct BenchOutput {
  std::string label;
  bool save = false;
  bool append = false;
  bool detail = false;
  std::string result_filename;  // empty: one is made of what was asked
  std::string png;
};

// The flags of `peerage bench`; where vLLM's `bench serve` has one, it is called the same.
class BenchOptions {
 public:
  explicit BenchOptions(CLI::App& app);

  // Reads the files that are named. INVALID_ARGUMENT names the option.
  absl::StatusOr<BenchPlan> ReadPlan() const;
  const BenchOutput& output() const { return output_; }
  // For a file's name, as vLLM says it: "4qps-concurrency8".
  std::string LoadWord() const;
  // Empty, or two files that are only compared.
  const std::vector<std::string>& compare() const { return compare_; }

 private:
  void AddLoad(CLI::App& app);
  void AddTokens(CLI::App& app);
  void AddSampling(CLI::App& app);
  void AddReport(CLI::App& app);
  void AddResults(CLI::App& app);

  absl::StatusOr<std::vector<Traffic>> ReadLoads() const;
  absl::StatusOr<std::optional<RampUp>> ReadRampUp() const;
  absl::Status ReadReport(BenchPlan& plan) const;
  absl::Status ReadTokens(BenchPlan& plan) const;
  absl::Status ReadDataset(BenchPlan& plan) const;
  void SetRequests(BenchPlan& plan) const;

  std::string mode_ = "generate", model_, dataset_name_ = "random", dataset_path_;
  std::string request_rate_ = "inf", max_concurrency_, ramp_up_strategy_;
  std::string percentile_metrics_, metric_percentiles_ = "50,90,99";
  std::vector<std::string> goodput_, compare_;
  std::optional<double> burstiness_, range_ratio_, ramp_up_start_, ramp_up_end_;
  std::optional<uint32_t> num_prompts_, num_warmups_, retries_, input_len_, output_len_,
      prefix_len_, continuations_, custom_output_len_, logprobs_;
  std::optional<uint64_t> seed_;
  DrawOptions draw_;
  std::optional<bool> ignore_eos_;
  bool experts_ = false;
  BenchOutput output_;
};

}  // namespace peerage::client
