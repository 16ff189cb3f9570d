// How fast a model runs without server and scheduler: one prompt, one stream, many streams.
// Prints one JSON object; bench/serving/compare_llama_cpp.py runs it beside llama.cpp, and
// tools/gpu_check.py on a GPU with models of random weights.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/engine/noise_checkpoint.h"
#include "bench/engine/random_models.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/load_model.h"
#include "nlohmann/json.hpp"

namespace {

using peerage::BlockId;
using peerage::Chunk;
using peerage::LanguageModel;
using peerage::OutputRow;
using peerage::TokenId;

struct Options {
  std::string model;  // or a random one
  peerage::RandomModel random;
  std::string device = "cpu";
  std::string weights_dtype = "auto";
  int threads = 2;
  int prefill = 512;
  int decode = 128;
  int streams = 16;
  int repetitions = 5;
  int64_t kv_cache_mib = 2048;
  std::vector<int> contexts;  // decode speed behind long contexts
  std::vector<int> batches;   // decode speed of so many streams behind batch_context
  int batch_context = 256;
  // Of a mixture, ids of feed-forward experts: those from here on cost nothing.
  uint32_t ffn_experts = 0;
};

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Sequences with blocks and text of their own, all at the same position.
class Streams {
 public:
  Streams(LanguageModel& model, int count, int positions, uint32_t ffn_experts = 0)
      : model_(model), ffn_experts_(ffn_experts) {
    const int blocks =
        (positions + model.capacity().block_tokens - 1) / model.capacity().block_tokens;
    blocks_.resize(count, std::vector<BlockId>(blocks));
    BlockId next = 0;
    for (int i = 0; i < count; ++i) {
      std::iota(blocks_[i].begin(), blocks_[i].end(), next);
      next += blocks;
      tokens_.push_back(TokenOf(i, 0));
      model.Open(i, {.sampling = {.temperature = 0}});
    }
  }
  ~Streams() {
    for (size_t i = 0; i < tokens_.size(); ++i) model_.Close(static_cast<int>(i));
  }

  // `count` tokens of a prompt into every stream, one after the other; logits of the last only.
  void Prefill(int count) {
    std::vector<TokenId> prompt(count);
    for (size_t s = 0; s < tokens_.size(); ++s) {
      for (int i = 0; i < count; ++i) prompt[i] = TokenOf(static_cast<int>(s), i);
      for (int at = 0; at < count; at += model_.capacity().max_step_tokens) {
        const int size = std::min(model_.capacity().max_step_tokens, count - at);
        const Chunk chunk{.slot = static_cast<int>(s),
                          .tokens = absl::MakeConstSpan(prompt).subspan(at, size),
                          .first_position = position_ + at,
                          .blocks = blocks_[s]};
        const OutputRow row{.chunk = 0, .row = size - 1, .sample = true};
        const bool last = at + size == count;
        Check(model_.Step({.chunks = {&chunk, 1}, .rows = {&row, last ? size_t{1} : 0}}));
      }
    }
    position_ += count;
  }

  // One token for every stream, in one step.
  void Decode() {
    std::vector<Chunk> chunks;
    std::vector<OutputRow> rows;
    for (size_t s = 0; s < tokens_.size(); ++s) {
      rows.push_back({.chunk = static_cast<int>(s), .row = 0, .sample = true});
      chunks.push_back({.slot = static_cast<int>(s),
                        .tokens = {&tokens_[s], 1},
                        .first_position = position_,
                        .blocks = blocks_[s],
                        .trace = ffn_experts_ > 0});
    }
    const peerage::StepOutput out = Check(model_.Step({.chunks = chunks, .rows = rows}));
    CountTouched(out);
    for (size_t s = 0; s < tokens_.size(); ++s) tokens_[s] = out.rows[s].tokens[0].token;
    ++position_;
  }

  // Feed-forward experts that a step touched, and picks of them, a layer with a mixture; 0 without
  // any. Experts that cost nothing do not count.
  double touched_experts() const { return layer_steps_ == 0 ? 0 : double(touched_) / layer_steps_; }
  double ffn_picks() const { return layer_steps_ == 0 ? 0 : double(ffn_picks_) / layer_steps_; }

 private:
  // Streams differ, so that they need not choose the same experts.
  static TokenId TokenOf(int stream, int position) {
    return 100 + (stream * 211 + position * 37) % 1000;
  }

  void CountTouched(const peerage::StepOutput& output) {
    if (ffn_experts_ == 0) return;
    const auto& layers = model_.description().expert_layers;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].kind != peerage::ExpertLayerKind::kMixtureFfn) continue;
      std::set<uint32_t> touched;
      for (const uint32_t id : output.picks[i].ids) {
        if (id >= ffn_experts_) continue;
        touched.insert(id);
        ++ffn_picks_;
      }
      touched_ += touched.size();
      ++layer_steps_;
    }
  }

  peerage::StepOutput Check(absl::StatusOr<peerage::StepOutput> output) {
    if (!output.ok()) {
      std::cerr << output.status() << "\n";
      std::exit(1);
    }
    return *output;
  }

  LanguageModel& model_;
  const uint32_t ffn_experts_;
  std::vector<TokenId> tokens_;
  std::vector<std::vector<BlockId>> blocks_;
  int position_ = 0;
  int64_t touched_ = 0;
  int64_t ffn_picks_ = 0;
  int64_t layer_steps_ = 0;
};

double PrefillSpeed(LanguageModel& model, const Options& options) {
  std::vector<double> times;
  for (int i = 0; i < options.repetitions; ++i) {
    Streams streams(model, 1, options.prefill);
    const double start = Seconds();
    streams.Prefill(options.prefill);
    times.push_back(Seconds() - start);
  }
  return options.prefill / Median(times);
}

struct Decoding {
  double tokens_per_second = 0;  // over all streams
  double touched_experts = 0;
  double ffn_picks = 0;  // of one token
};

// `options.decode` steps behind a context.
Decoding MeasureDecoding(LanguageModel& model, const Options& options, int count, int context) {
  Decoding result;
  std::vector<double> times;
  for (int i = 0; i < options.repetitions; ++i) {
    Streams streams(model, count, context + options.decode, options.ffn_experts);
    if (context > 0) streams.Prefill(context);
    const double start = Seconds();
    for (int step = 0; step < options.decode; ++step) streams.Decode();
    times.push_back(Seconds() - start);
    result.touched_experts = streams.touched_experts();
    result.ffn_picks = streams.ffn_picks() / count;
  }
  result.tokens_per_second = count * options.decode / Median(times);
  return result;
}

std::unique_ptr<peerage::Checkpoint> OpenOrExit(const Options& options) {
  if (!options.random.kind.empty()) {
    return std::make_unique<peerage::NoiseCheckpoint>(peerage::ConfigOf(options.random));
  }
  auto checkpoint = peerage::OpenCheckpoint(options.model);
  if (checkpoint.ok()) return *std::move(checkpoint);
  std::cerr << checkpoint.status() << "\n";
  std::exit(1);
}

uint32_t FfnExperts(const peerage::ModelConfig& config) {
  for (const peerage::FfnConfig& part : config.layers.front().ffn) {
    const auto* ffn = std::get_if<peerage::MixtureFfnConfig>(&part);
    if (ffn != nullptr) return ffn->mixture.num_experts;
  }
  return 0;
}

int MostStreams(const Options& options) {
  int most = options.streams;
  for (const int batch : options.batches) most = std::max(most, batch);
  return most;
}

nlohmann::json Measure(LanguageModel& model, const Options& options) {
  nlohmann::json result;
  result["prefill_tokens_per_second"] = PrefillSpeed(model, options);
  const Decoding alone = MeasureDecoding(model, options, 1, 0);
  result["decode_tokens_per_second"] = alone.tokens_per_second;
  result["streams"] = options.streams;
  const Decoding streams =
      options.streams == 1 ? alone : MeasureDecoding(model, options, options.streams, 0);
  result["streams_tokens_per_second"] = streams.tokens_per_second;
  result["streams_touched_experts"] = streams.touched_experts;
  result["streams_ffn_picks"] = streams.ffn_picks;
  for (const int context : options.contexts) {
    result["decode_behind_context"][std::to_string(context)] =
        MeasureDecoding(model, options, 1, context).tokens_per_second;
  }
  for (const int batch : options.batches) {
    result["decode_of_batch"][std::to_string(batch)] =
        MeasureDecoding(model, options, batch, options.batch_context).tokens_per_second;
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures prefill and decode of a model");
  auto* source = app.add_option_group("what to run")->require_option(1);
  source->add_option("--model", options.model, "A model directory or a .gguf file");
  source->add_option("--random", options.random.kind, "Random weights of this kind")
      ->check(CLI::IsMember({"dense", "peer", "mixture"}));
  app.add_option("--width", options.random.width)->check(CLI::PositiveNumber);
  app.add_option("--layers", options.random.layers)->check(CLI::PositiveNumber);
  app.add_option("--log2-experts", options.random.log2_experts, "Even")->check(CLI::Range(2, 30));
  app.add_option("--vocabulary", options.random.vocabulary)->check(CLI::PositiveNumber);
  app.add_option("--device", options.device, "cpu or cuda:N");
  app.add_option("--weights-dtype", options.weights_dtype)
      ->check(CLI::IsMember({"auto", "f32", "bf16", "q8_0", "q4_1"}));
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber);
  app.add_option("--prefill", options.prefill)->check(CLI::PositiveNumber);
  app.add_option("--decode", options.decode)->check(CLI::PositiveNumber);
  app.add_option("--streams", options.streams)->check(CLI::PositiveNumber);
  app.add_option("--repetitions", options.repetitions)->check(CLI::PositiveNumber);
  app.add_option("--kv-cache-mib", options.kv_cache_mib)->check(CLI::PositiveNumber);
  app.add_option("--contexts", options.contexts)->delimiter(',');
  app.add_option("--batches", options.batches)->delimiter(',');
  app.add_option("--batch-context", options.batch_context)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  const auto checkpoint = OpenOrExit(options);
  using peerage::nn::WeightsDtype;
  const std::vector<std::string> names = {"auto", "f32", "bf16", "q8_0", "q4_1"};
  const auto dtype = static_cast<WeightsDtype>(
      std::find(names.begin(), names.end(), options.weights_dtype) - names.begin());
  options.ffn_experts = FfnExperts(checkpoint->config());
  const double start = Seconds();
  auto model = peerage::nn::LoadModel(*checkpoint, {.device = options.device,
                                                    .weights_dtype = dtype,
                                                    .threads = options.threads,
                                                    .num_slots = MostStreams(options),
                                                    .kv_cache_bytes = options.kv_cache_mib << 20});
  if (!model.ok()) return std::cerr << model.status() << "\n", 1;
  nlohmann::json result = {{"load_seconds", Seconds() - start},
                           {"device", (*model)->description().device},
                           {"kernel_target", (*model)->description().kernel_target},
                           {"weights_dtype", (*model)->description().weights_dtype},
                           {"weights_bytes", (*model)->description().weights_bytes},
                           {"threads", options.threads}};
  result.update(Measure(**model, options));
  std::cout << result.dump(2) << "\n";
  return 0;
}
