#include "train/training/training_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/number_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/sha256.h"
#include "model/nn/plan/model_plan.h"
#include "model/transform/new_model_directory.h"
#include "train/training/model_writing.h"
#include "train/training/schedule.h"
#include "train/training/state_file.h"
#include "train/training/tensor_selection.h"

namespace peerage::train {
namespace {

using nlohmann::ordered_json;

constexpr char kSourceKey[] = "model.from's weights";
constexpr char kConfigKey[] = "the content of the model's config.json";

absl::Span<const uint8_t> BytesOf(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Which tokens the texts are, so that a run does not go on with others.
absl::StatusOr<std::string> FingerprintOf(const std::vector<PackedText>& texts) {
  std::vector<absl::Span<const uint8_t>> parts;
  for (const PackedText& text : texts) {
    const absl::Span<const TokenId> tokens = text.used();
    parts.emplace_back(reinterpret_cast<const uint8_t*>(tokens.data()),
                       tokens.size() * sizeof(TokenId));
  }
  return Sha256Hex(parts);
}

absl::Status CheckSame(const std::string& state, const ordered_json& then,
                       const ordered_json& now) {
  for (const auto& [key, value] : now.items()) {
    if (then.contains(key) && then[key] == value) continue;
    const std::string before = then.contains(key) ? then[key].dump() : "not there";
    return absl::FailedPreconditionError(absl::StrCat(state, ": ", key, " was ", before, " and is ",
                                                      value.dump(),
                                                      " now; a run goes on as it began"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingRun>> TrainingRun::Open(const RunConfig& config,
                                                               bool resume) {
  RETURN_IF_ERROR(transform::NewModelDirectory::Check(config.run.out));
  ASSIGN_OR_RETURN(const std::optional<std::string> state, NewestState(config.run.out));
  if (resume && !state.has_value()) {
    return absl::NotFoundError(absl::StrCat(config.run.out, ": no checkpoint to go on from"));
  }
  if (!resume && state.has_value()) {
    return absl::AlreadyExistsError(
        absl::StrCat(*state,
                     ": is there already; --resume goes on from it, and another run.out "
                     "begins anew"));
  }
  std::unique_ptr<TrainingRun> run(new TrainingRun(config));
  LearningModel::SetThreads(config.run.threads);
  RETURN_IF_ERROR(run->BuildModel());
  RETURN_IF_ERROR(run->ReadTexts());
  if (state.has_value()) RETURN_IF_ERROR(run->Resume(*state));
  return run;
}

absl::Status TrainingRun::BuildModel() {
  ASSIGN_OR_RETURN(source_, OpenSourceModel(config_.model));
  if (config_.data.sequence_length > source_.config.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.sequence_length is ", config_.data.sequence_length,
                     "; the model has max_position_embeddings ", source_.config.max_positions));
  }
  const std::vector<nn::PlannedTensor> tensors = nn::PlanModel(source_.config).Tensors();
  ASSIGN_OR_RETURN(const std::vector<TensorLearning> learning,
                   SelectTensors(tensors, config_.model, config_.optimizer));
  const LearningModel::Options options{.optimizer = config_.optimizer,
                                       .compute = config_.run.compute};
  ASSIGN_OR_RETURN(model_, LearningModel::Make(source_.config, learning, options));
  if (source_.checkpoint != nullptr) {
    ASSIGN_OR_RETURN(source_fingerprint_, source_.checkpoint->Fingerprint());
  }
  ASSIGN_OR_RETURN(config_fingerprint_, Sha256Hex({BytesOf(source_.config_json)}));
  return FillValues(source_, *model_);
}

absl::Status TrainingRun::ReadTexts() {
  const DataSection& data = config_.data;
  std::vector<SequenceOrder::Source> sources;
  for (const TextSource& source : data.sources) {
    ASSIGN_OR_RETURN(PackedText text, PackedText::Read(*source_.tokenizer, source.files,
                                                       data.text_key, data.sequence_length));
    sources.push_back({.sequences = text.sequences(),
                       .weight = source.weight.value_or(static_cast<double>(text.sequences()))});
    texts_.push_back(std::move(text));
  }
  for (const std::string& file : data.held_out) {
    ASSIGN_OR_RETURN(PackedText text, PackedText::Read(*source_.tokenizer, {file}, data.text_key,
                                                       data.sequence_length));
    held_out_.push_back(std::move(text));
  }
  ASSIGN_OR_RETURN(texts_fingerprint_, FingerprintOf(texts_));
  order_ = std::make_unique<SequenceOrder>(std::move(sources), data.seed);
  return absl::OkStatus();
}

ordered_json TrainingRun::StateJson() const {
  ordered_json json = config_.Decisive();
  json[kSourceKey] = source_fingerprint_;
  json[kConfigKey] = config_fingerprint_;
  json["the tokens of data.source"] = texts_fingerprint_;
  return json;
}

absl::Status TrainingRun::Resume(const std::string& state) {
  ASSIGN_OR_RETURN(const ordered_json run, ReadStateRun(state));
  RETURN_IF_ERROR(CheckSame(state, run, StateJson()));
  if (!run.contains("step") || !run["step"].is_number_unsigned()) {
    return absl::InvalidArgumentError(absl::StrCat(state, ": does not say its step"));
  }
  RETURN_IF_ERROR(ReadState(state, *model_));
  model_->set_steps(run["step"].get<int64_t>());
  const OptimizerSection& o = config_.optimizer;
  order_->Skip(steps_done() * o.batch_sequences * o.accumulate);
  return absl::OkStatus();
}

int64_t TrainingRun::tokens_of_step() const {
  const OptimizerSection& o = config_.optimizer;
  return int64_t{o.batch_sequences} * o.accumulate * config_.data.sequence_length;
}

double TrainingRun::learning_rate() const {
  return config_.optimizer.learning_rate * ScheduleFactor(config_.schedule, steps_done());
}

TokenBatch TrainingRun::NextBatch() {
  TokenBatch batch{.sequences = config_.optimizer.batch_sequences,
                   .length = config_.data.sequence_length};
  for (int i = 0; i < batch.sequences; ++i) {
    const SequenceOrder::Place place = order_->Next();
    const absl::Span<const TokenId> tokens = texts_[place.source].Sequence(place.sequence);
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
  }
  return batch;
}

absl::StatusOr<StepFigures> TrainingRun::Step() {
  const int parts = config_.optimizer.accumulate;
  for (int part = 0; part < parts; ++part) RETURN_IF_ERROR(model_->Learn(NextBatch(), parts));
  return model_->Update(ScheduleFactor(config_.schedule, steps_done()));
}

absl::StatusOr<std::vector<HeldOutFigures>> TrainingRun::Evaluate(
    const std::function<bool()>& stopped) {
  std::vector<HeldOutFigures> figures;
  for (size_t i = 0; i < held_out_.size(); ++i) {
    const PackedText& text = held_out_[i];
    const int64_t wanted = std::min<int64_t>(config_.data.held_out_sequences, text.sequences());
    HeldOutFigures& file = figures.emplace_back(HeldOutFigures{.file = config_.data.held_out[i]});
    for (int64_t s = 0; s < wanted; ++s) {
      if (stopped()) return absl::CancelledError("stopped while held-out text was read");
      const absl::Span<const TokenId> tokens = text.Sequence(s * text.sequences() / wanted);
      ASSIGN_OR_RETURN(const std::vector<float> values,
                       model_->LogProbabilities({.sequences = 1,
                                                 .length = config_.data.sequence_length,
                                                 .tokens = {tokens.begin(), tokens.end()}}));
      for (const float value : values) file.loss -= value;
      file.tokens += static_cast<int64_t>(values.size());
    }
    file.loss /= static_cast<double>(file.tokens);
  }
  return figures;
}

absl::Status TrainingRun::SaveState() {
  ordered_json run = StateJson();
  run["step"] = steps_done();
  return WriteState(config_.run.out, *model_, run);
}

absl::Status TrainingRun::Finish() {
  RETURN_IF_ERROR(WriteModel(source_, config_.run, *model_));
  RemoveStates(config_.run.out);
  return absl::OkStatus();
}

std::string TrainingRun::TextsInWords() const {
  int64_t tokens = 0, sequences = 0;
  for (const PackedText& text : texts_) {
    tokens += text.tokens();
    sequences += text.sequences();
  }
  return absl::StrCat(FormatCount(tokens), " tokens in ", FormatWhole(sequences), " sequences of ",
                      config_.data.sequence_length);
}

}  // namespace peerage::train
