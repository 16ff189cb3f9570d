#include "train/config/run_config.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/choice.h"
#include "base/status_macros.h"
#include "train/config/tensor_pattern.h"
#include "train/config/toml_table.h"

namespace peerage::train {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kMany = int64_t{1} << 40;  // steps, more than anybody waits for
constexpr TomlTable::IntLimits kSeeds = {0, std::numeric_limits<int64_t>::max()};
constexpr TomlTable::IntLimits kSteps = {1, kMany};
constexpr TomlTable::IntLimits kStepsOrNone = {0, kMany};

constexpr Choice<ScheduleKind> kSchedules[] = {{"constant", ScheduleKind::kConstant},
                                               {"cosine", ScheduleKind::kCosine},
                                               {"trapezoid", ScheduleKind::kTrapezoid}};
constexpr Choice<TableRows> kTableRows[] = {{"all", TableRows::kAll},
                                            {"picked", TableRows::kPicked}};
constexpr Choice<Variance> kVariances[] = {{"element", Variance::kElement},
                                           {"row", Variance::kRow}};
constexpr Choice<LearningRouting> kRoutings[] = {{"served", LearningRouting::kServed},
                                                 {"soft", LearningRouting::kSoft}};
constexpr Choice<ComputeType> kComputeTypes[] = {{"f32", ComputeType::kF32},
                                                 {"bf16", ComputeType::kBF16}};
constexpr Choice<TensorType> kDtypes[] = {
    {"f32", TensorType::kF32}, {"bf16", TensorType::kBF16}, {"f16", TensorType::kF16}};

absl::StatusOr<Patterns> ReadPatterns(TomlTable& table, const char* key) {
  ASSIGN_OR_RETURN(Patterns patterns, table.Strings(key));
  for (const std::string& pattern : patterns) {
    const absl::Status status = TensorPattern::Parse(pattern).status();
    if (!status.ok()) return table.Error(key, absl::StrCat("holds ", status.message()));
  }
  return patterns;
}

absl::StatusOr<ModelSection> ReadModel(TomlTable table, const RunOverrides& overrides) {
  ModelSection model;
  if (!overrides.from.empty() && table.Has("config")) {
    return table.Error("config", "is of a new model, but --from names one that goes on");
  }
  if (table.Has("from") || !overrides.from.empty()) {
    ASSIGN_OR_RETURN(model.from, table.String("from", overrides.from));
    if (!overrides.from.empty()) model.from = overrides.from;
    for (const char* key : {"config", "tokenizer", "seed"}) {
      if (table.Has(key)) return table.Error(key, "is of a new model, but model.from is there too");
    }
  } else if (!table.Has("config")) {
    return table.Error("from",
                       "is missing: a model to go on with (or, of a new one, config and "
                       "tokenizer)");
  } else {
    ASSIGN_OR_RETURN(model.config, table.String("config"));
    ASSIGN_OR_RETURN(model.tokenizer, table.String("tokenizer"));
    ASSIGN_OR_RETURN(model.seed, table.Int("seed", kSeeds, 1));
  }
  ASSIGN_OR_RETURN(model.train, ReadPatterns(table, "train"));
  ASSIGN_OR_RETURN(model.freeze, ReadPatterns(table, "freeze"));
  model.routers_only = overrides.routers_only;
  RETURN_IF_ERROR(table.RefuseUnread());
  return model;
}

absl::StatusOr<TextSource> ReadSource(TomlTable& table) {
  TextSource source;
  ASSIGN_OR_RETURN(source.files, table.Strings("files"));
  if (source.files.empty()) return table.Error("files", "is missing: text or .jsonl files");
  if (table.Has("weight")) {
    ASSIGN_OR_RETURN(source.weight, table.Number("weight", {.max = 1e6, .above = true}));
  }
  RETURN_IF_ERROR(table.RefuseUnread());
  return source;
}

absl::StatusOr<DataSection> ReadData(TomlTable table) {
  DataSection data;
  ASSIGN_OR_RETURN(std::vector<TomlTable> sources, table.Tables("source"));
  for (TomlTable& source : sources) {
    ASSIGN_OR_RETURN(data.sources.emplace_back(), ReadSource(source));
    if (data.sources.back().weight.has_value() != data.sources.front().weight.has_value()) {
      return source.Error("weight", "is missing: either all sources have one, or none");
    }
  }
  if (data.sources.empty()) return table.Error("source", "is missing: [[data.source]] with files");
  ASSIGN_OR_RETURN(data.held_out, table.Strings("held_out"));
  ASSIGN_OR_RETURN(data.text_key, table.String("text_key", data.text_key));
  ASSIGN_OR_RETURN(data.sequence_length,
                   table.Int("sequence_length", {1, 1 << 20}, data.sequence_length));
  ASSIGN_OR_RETURN(data.held_out_sequences,
                   table.Int("held_out_sequences", {1, 1 << 20}, data.held_out_sequences));
  ASSIGN_OR_RETURN(data.seed, table.Int("seed", kSeeds, data.seed));
  RETURN_IF_ERROR(table.RefuseUnread());
  return data;
}

constexpr TomlTable::NumberLimits kLearningRates = {.max = 100, .above = true};
constexpr TomlTable::NumberLimits kDecays = {.max = 10};

absl::StatusOr<OptimizerGroup> ReadGroup(TomlTable& table) {
  OptimizerGroup group;
  ASSIGN_OR_RETURN(group.tensors, ReadPatterns(table, "tensors"));
  if (group.tensors.empty()) return table.Error("tensors", "is missing: patterns of tensor names");
  if (table.Has("learning_rate")) {
    ASSIGN_OR_RETURN(group.learning_rate, table.Number("learning_rate", kLearningRates));
  }
  if (table.Has("weight_decay")) {
    ASSIGN_OR_RETURN(group.weight_decay, table.Number("weight_decay", kDecays));
  }
  RETURN_IF_ERROR(table.RefuseUnread());
  return group;
}

absl::StatusOr<OptimizerSection> ReadOptimizer(TomlTable table) {
  OptimizerSection o;
  ASSIGN_OR_RETURN(o.learning_rate, table.Number("learning_rate", kLearningRates));
  ASSIGN_OR_RETURN(o.beta1, table.Number("beta1", {.max = 0.999999}, o.beta1));
  ASSIGN_OR_RETURN(o.beta2, table.Number("beta2", {.max = 0.999999}, o.beta2));
  ASSIGN_OR_RETURN(o.epsilon, table.Number("epsilon", {.max = 1, .above = true}, o.epsilon));
  ASSIGN_OR_RETURN(o.weight_decay, table.Number("weight_decay", kDecays, o.weight_decay));
  ASSIGN_OR_RETURN(o.clip, table.Number("clip", {.max = 1e6}, o.clip));
  ASSIGN_OR_RETURN(o.batch_sequences, table.Int("batch_sequences", {1, 65536}, o.batch_sequences));
  ASSIGN_OR_RETURN(o.accumulate, table.Int("accumulate", {1, 65536}, o.accumulate));
  ASSIGN_OR_RETURN(o.routing, table.OneOf("routing", kRoutings, o.routing));
  ASSIGN_OR_RETURN(o.balance_loss, table.Number("balance_loss", {.max = 100}, o.balance_loss));
  ASSIGN_OR_RETURN(o.z_loss, table.Number("z_loss", {.max = 100}, o.z_loss));
  ASSIGN_OR_RETURN(o.rows, table.OneOf("rows", kTableRows, o.rows));
  if (o.rows == TableRows::kPicked) {
    ASSIGN_OR_RETURN(o.variance, table.OneOf("variance", kVariances, o.variance));
  } else if (table.Has("variance")) {
    return table.Error("variance", "is for rows = \"picked\" alone");
  }
  ASSIGN_OR_RETURN(std::vector<TomlTable> groups, table.Tables("group"));
  for (TomlTable& group : groups) {
    ASSIGN_OR_RETURN(o.groups.emplace_back(), ReadGroup(group));
  }
  RETURN_IF_ERROR(table.RefuseUnread());
  return o;
}

absl::StatusOr<ScheduleSection> ReadSchedule(TomlTable table, const RunOverrides& overrides) {
  ScheduleSection schedule;
  ASSIGN_OR_RETURN(schedule.kind, table.OneOf("kind", kSchedules, schedule.kind));
  ASSIGN_OR_RETURN(schedule.steps,
                   table.Int("steps", kSteps, std::optional<int64_t>(overrides.steps)));
  if (overrides.steps.has_value()) schedule.steps = static_cast<int64_t>(*overrides.steps);
  ASSIGN_OR_RETURN(schedule.warmup_steps, table.Int("warmup_steps", {0, schedule.steps}, 0));
  if (schedule.kind == ScheduleKind::kTrapezoid) {
    ASSIGN_OR_RETURN(schedule.decay_steps,
                     table.Int("decay_steps", {0, schedule.steps - schedule.warmup_steps}));
  } else if (table.Has("decay_steps")) {
    return table.Error("decay_steps", "is for kind = \"trapezoid\" alone");
  }
  if (schedule.kind != ScheduleKind::kConstant) {
    ASSIGN_OR_RETURN(schedule.final_ratio,
                     table.Number("final_ratio", {.max = 1}, schedule.final_ratio));
  }
  RETURN_IF_ERROR(table.RefuseUnread());
  return schedule;
}

absl::StatusOr<RunSection> ReadRun(TomlTable table, const RunOverrides& overrides) {
  RunSection run;
  ASSIGN_OR_RETURN(run.out, table.String("out", overrides.out.empty() ? std::optional<std::string>()
                                                                      : overrides.out));
  if (!overrides.out.empty()) run.out = overrides.out;
  ASSIGN_OR_RETURN(run.compute, table.OneOf("compute", kComputeTypes, run.compute));
  ASSIGN_OR_RETURN(run.dtype, table.OneOf("dtype", kDtypes, run.dtype));
  ASSIGN_OR_RETURN(run.threads, table.Int("threads", {0, 1024}, run.threads));
  if (run.threads == 0) run.threads = static_cast<int>(std::thread::hardware_concurrency());
  ASSIGN_OR_RETURN(run.progress_every, table.Int("progress_every", kSteps, run.progress_every));
  ASSIGN_OR_RETURN(run.checkpoint_every,
                   table.Int("checkpoint_every", kSteps, run.checkpoint_every));
  ASSIGN_OR_RETURN(run.evaluate_every,
                   table.Int("evaluate_every", kStepsOrNone, run.evaluate_every));
  RETURN_IF_ERROR(table.RefuseUnread());
  return run;
}

ordered_json GroupsJson(const std::vector<OptimizerGroup>& groups) {
  ordered_json list = ordered_json::array();
  for (const OptimizerGroup& group : groups) {
    ordered_json json = {{"tensors", group.tensors}};
    if (group.learning_rate) json["learning_rate"] = *group.learning_rate;
    if (group.weight_decay) json["weight_decay"] = *group.weight_decay;
    list.push_back(std::move(json));
  }
  return list;
}

ordered_json SourcesJson(const std::vector<TextSource>& sources) {
  ordered_json list = ordered_json::array();
  for (const TextSource& source : sources) {
    ordered_json json = {{"files", source.files}};
    if (source.weight) json["weight"] = *source.weight;
    list.push_back(std::move(json));
  }
  return list;
}

}  // namespace

ordered_json RunConfig::Decisive() const {
  const OptimizerSection& o = optimizer;
  return {{"model.from", model.from},
          {"model.config", model.config},
          {"model.tokenizer", model.tokenizer},
          {"model.seed", model.seed},
          {"model.train", model.train},
          {"model.freeze", model.freeze},
          {"--routers-only", model.routers_only},
          {"data.source", SourcesJson(data.sources)},
          {"data.text_key", data.text_key},
          {"data.sequence_length", data.sequence_length},
          {"data.seed", data.seed},
          {"optimizer.learning_rate", o.learning_rate},
          {"optimizer.beta1", o.beta1},
          {"optimizer.beta2", o.beta2},
          {"optimizer.epsilon", o.epsilon},
          {"optimizer.weight_decay", o.weight_decay},
          {"optimizer.clip", o.clip},
          {"optimizer.batch_sequences", o.batch_sequences},
          {"optimizer.accumulate", o.accumulate},
          {"optimizer.routing", std::string(ChoiceName(kRoutings, o.routing))},
          {"optimizer.balance_loss", o.balance_loss},
          {"optimizer.z_loss", o.z_loss},
          {"optimizer.rows", std::string(ChoiceName(kTableRows, o.rows))},
          {"optimizer.variance", std::string(ChoiceName(kVariances, o.variance))},
          {"optimizer.group", GroupsJson(o.groups)},
          {"schedule.kind", std::string(ChoiceName(kSchedules, schedule.kind))},
          {"schedule.steps", schedule.steps},
          {"schedule.warmup_steps", schedule.warmup_steps},
          {"schedule.decay_steps", schedule.decay_steps},
          {"schedule.final_ratio", schedule.final_ratio},
          {"run.compute", std::string(ChoiceName(kComputeTypes, run.compute))},
          {"run.threads", run.threads}};
}

absl::StatusOr<RunConfig> ReadRunConfig(const std::string& path, const RunOverrides& overrides) {
  ASSIGN_OR_RETURN(const TomlValue file, ReadTomlFile(path));
  TomlTable root(path, "", file);
  RunConfig config;
  ASSIGN_OR_RETURN(TomlTable model, root.Table("model"));
  ASSIGN_OR_RETURN(TomlTable data, root.Table("data"));
  ASSIGN_OR_RETURN(TomlTable optimizer, root.Table("optimizer"));
  ASSIGN_OR_RETURN(TomlTable schedule, root.Table("schedule"));
  ASSIGN_OR_RETURN(TomlTable run, root.Table("run"));
  RETURN_IF_ERROR(root.RefuseUnread());
  ASSIGN_OR_RETURN(config.model, ReadModel(std::move(model), overrides));
  ASSIGN_OR_RETURN(config.data, ReadData(std::move(data)));
  ASSIGN_OR_RETURN(config.optimizer, ReadOptimizer(std::move(optimizer)));
  ASSIGN_OR_RETURN(config.schedule, ReadSchedule(std::move(schedule), overrides));
  ASSIGN_OR_RETURN(config.run, ReadRun(std::move(run), overrides));
  return config;
}

}  // namespace peerage::train
