// How fast a model runs without server and scheduler: one prompt, one stream, many streams.
// Prints one JSON object; bench/serving/compare_llama_cpp.py runs it beside llama.cpp.
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
  std::string model;
  std::string weights_dtype = "auto";
  int threads = 2;
  int prefill = 512;
  int decode = 128;
  int streams = 16;
  int repetitions = 5;
  std::vector<int> contexts;  // decode speed behind long contexts
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
      model.Open(i, {.temperature = 0}, {});
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
                        .trace = true});
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

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures prefill and decode of a model");
  app.add_option("--model", options.model, "A model directory or a .gguf file")->required();
  app.add_option("--weights-dtype", options.weights_dtype)
      ->check(CLI::IsMember({"auto", "f32", "bf16", "q8_0", "q4_1"}));
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber);
  app.add_option("--prefill", options.prefill)->check(CLI::PositiveNumber);
  app.add_option("--decode", options.decode)->check(CLI::PositiveNumber);
  app.add_option("--streams", options.streams)->check(CLI::PositiveNumber);
  app.add_option("--repetitions", options.repetitions)->check(CLI::PositiveNumber);
  app.add_option("--contexts", options.contexts)->delimiter(',');
  CLI11_PARSE(app, argc, argv);

  const auto checkpoint = peerage::OpenCheckpoint(options.model);
  if (!checkpoint.ok()) return std::cerr << checkpoint.status() << "\n", 1;
  using peerage::nn::WeightsDtype;
  const std::vector<std::string> names = {"auto", "f32", "bf16", "q8_0", "q4_1"};
  const auto dtype = static_cast<WeightsDtype>(
      std::find(names.begin(), names.end(), options.weights_dtype) - names.begin());
  for (const peerage::FfnConfig& part : (*checkpoint)->config().layers.front().ffn) {
    const auto* ffn = std::get_if<peerage::MixtureFfnConfig>(&part);
    if (ffn != nullptr) options.ffn_experts = ffn->mixture.num_experts;
  }
  const double start = Seconds();
  auto model = peerage::nn::LoadModel(**checkpoint, {.weights_dtype = dtype,
                                                     .threads = options.threads,
                                                     .num_slots = options.streams,
                                                     .kv_cache_bytes = int64_t{2} << 30});
  if (!model.ok()) return std::cerr << model.status() << "\n", 1;
  nlohmann::json result = {{"load_seconds", Seconds() - start},
                           {"kernel_target", (*model)->description().kernel_target},
                           {"weights_dtype", (*model)->description().weights_dtype},
                           {"threads", options.threads}};
  result["prefill_tokens_per_second"] = PrefillSpeed(**model, options);
  const Decoding alone = MeasureDecoding(**model, options, 1, 0);
  result["decode_tokens_per_second"] = alone.tokens_per_second;
  result["streams"] = options.streams;
  const Decoding streams =
      options.streams == 1 ? alone : MeasureDecoding(**model, options, options.streams, 0);
  result["streams_tokens_per_second"] = streams.tokens_per_second;
  result["streams_touched_experts"] = streams.touched_experts;
  result["streams_ffn_picks"] = streams.ffn_picks;
  for (const int context : options.contexts) {
    result["decode_behind_context"][std::to_string(context)] =
        MeasureDecoding(**model, options, 1, context).tokens_per_second;
  }
  std::cout << result.dump(2) << "\n";
  return 0;
}
