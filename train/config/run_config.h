#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tensor_type.h"

namespace peerage::train {

// Patterns of tensor names (tensor_pattern.h).
using Patterns = std::vector<std::string>;

// [model]: what is trained. Either `from`, or `config` and `tokenizer`.
struct ModelSection {
  std::string from;           // a model whose weights go on: a directory or a .gguf file
  std::string config;         // of a new model: a config.json
  std::string tokenizer;      // of a new model: a directory with a tokenizer's files
  uint64_t seed = 1;          // of a new model's weights
  Patterns train;             // only these tensors change; empty: all
  Patterns freeze;            // and of them not these
  bool routers_only = false;  // only what decides which experts are met changes
};

// [[data.source]]
struct TextSource {
  std::vector<std::string> files;  // text or .jsonl files, or directories of them
  std::optional<double> weight;    // share of sequences; absent: as many as it has
};

// [data]
struct DataSection {
  std::vector<TextSource> sources;
  std::vector<std::string> held_out;  // files, each of which is evaluated
  std::string text_key = "text";      // of the lines of .jsonl files
  int sequence_length = 256;          // tokens of which each predicts the next
  int held_out_sequences = 32;        // of each file, evenly over it
  uint64_t seed = 1;                  // of the order of sequences
};

// [[optimizer.group]]: tensors with values of their own.
struct OptimizerGroup {
  Patterns tensors;
  std::optional<double> learning_rate;
  std::optional<double> weight_decay;
};

// Of a table with a row for each expert a step changes all rows, or those that its tokens picked:
// the others keep their values and moments.
enum class TableRows { kAll, kPicked };

// With picked rows: a second moment for each element, or one for each row, of its mean square.
enum class Variance { kElement, kRow };

// How many experts of a mixture learn from a token: those that the served model would ask, or all
// of them, each by its gate.
enum class LearningRouting { kServed, kSoft };

// [optimizer]: AdamW (Loshchilov and Hutter 2019).
struct OptimizerSection {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;  // of tensors with two dimensions or more
  double clip = 1;            // most of the gradient's norm; 0: any
  int batch_sequences = 8;    // that go forward and backward together
  int accumulate = 1;         // of which a step adds so many
  LearningRouting routing = LearningRouting::kServed;
  double balance_loss = 0;  // weight of the mixtures' load-balancing loss
  double z_loss = 0;        // weight of the mean squared log-sum-exp of the mixtures' logits
  TableRows rows = TableRows::kAll;
  Variance variance = Variance::kElement;
  std::vector<OptimizerGroup> groups;  // the first that matches counts
};

enum class ScheduleKind { kConstant, kCosine, kTrapezoid };

// [schedule]: what the learning rate is multiplied by.
struct ScheduleSection {
  ScheduleKind kind = ScheduleKind::kCosine;
  int64_t steps = 0;
  int64_t warmup_steps = 0;
  int64_t decay_steps = 0;   // trapezoid: the last ones
  double final_ratio = 0.1;  // at the last step
};

enum class ComputeType { kF32, kBF16 };

// [run]
struct RunSection {
  std::string out;  // the directory of the trained model
  ComputeType compute = ComputeType::kF32;
  TensorType dtype = TensorType::kF32;  // of the weights that are written
  int threads = 0;                      // 0: one for each core
  int64_t progress_every = 10;          // steps
  int64_t checkpoint_every = 200;       // steps
  int64_t evaluate_every = 0;           // steps; 0: at the end
};

// What `peerage-train --config` reads (docs/training.md).
struct RunConfig {
  ModelSection model;
  DataSection data;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  RunSection run;

  // What decides the bits of the result, by the keys of the file: a run that goes on must have the
  // same.
  nlohmann::ordered_json Decisive() const;
};

// What the command line says in place of the file.
struct RunOverrides {
  std::string from;
  std::string out;
  std::optional<uint64_t> steps;
  bool routers_only = false;
};

// Errors name file, line and key, and what would be right.
absl::StatusOr<RunConfig> ReadRunConfig(const std::string& path,
                                        const RunOverrides& overrides = {});

}  // namespace peerage::train
