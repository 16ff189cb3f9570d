// One whole PEER layer: queries, sub-key scores, selection, experts, counting. Random weights of
// the format's default shape, 512 different random tokens in turn, the best of several rounds.
// Prints one JSON object; bench/peers/peer_pytorch.py measures the same layer in PyTorch.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "hwy/targets.h"
#include "model/checkpoint/layout/tensor_layout.h"
#include "model/config/expert_layers.h"
#include "model/kernels/float16.h"
#include "model/kernels/kernel_target.h"
#include "model/nn/expert_counters.h"
#include "model/nn/model_builder.h"
#include "model/nn/workspace.h"
#include "nlohmann/json.hpp"

namespace {

using peerage::ModelConfig;
using peerage::TensorInfo;

constexpr int kTokens = 512;

struct Options {
  int d = 1024;
  int heads = 8;
  int top_k = 16;
  int key_dim = 256;
  std::string keys = "shared";
  std::vector<int> log2_experts = {20};
  std::vector<std::string> dtypes = {"bf16", "int8"};
  std::vector<int> tokens = {1, 16, 256};
  std::string target;  // the CPU's best
  int threads = 2;
  int repetitions = 9;
};

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// About normal, from a counter (splitmix64): tables of gigabytes are made row by row.
float Noise(uint64_t counter) {
  uint64_t x = counter * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  x ^= x >> 31;
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>((x >> (16 * i)) & 0xFFFF) - 32767.5f;
  return sum * (1.7320508f / 2 / 32768);
}

// A checkpoint of bf16 noise with the standard deviation of usual initialisations.
class NoiseCheckpoint : public peerage::Checkpoint {
 public:
  explicit NoiseCheckpoint(ModelConfig config) : config_(std::move(config)) {
    for (auto& spec : TensorLayout(config_, peerage::TensorNaming::kPeerage)) {
      uint64_t elements = 1;
      for (const int64_t dim : spec.shape) elements *= dim;
      tensors_.push_back({.name = spec.name,
                          .type = peerage::TensorType::kBF16,
                          .shape = spec.shape,
                          .bytes = 2 * elements});
    }
  }

  const ModelConfig& config() const override { return config_; }
  const peerage::TokenizerSource& tokenizer() const override { return tokenizer_; }
  absl::Span<const TensorInfo> tensors() const override { return tensors_; }
  absl::Span<const std::string> ignored() const override { return {}; }
  absl::StatusOr<std::string> Fingerprint() const override { return std::string(64, '0'); }

  const TensorInfo* Find(absl::string_view name) const override {
    for (const TensorInfo& tensor : tensors_) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  }
  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override {
    return ReadRows(tensor, 0, bytes);
  }
  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override {
    const uint64_t seed = static_cast<uint64_t>(&tensor - tensors_.data()) << 48;
    const uint64_t row = tensor.bytes / 2 / tensor.shape[0];
    const float scale = 1 / std::sqrt(static_cast<float>(tensor.shape.back()));
    for (uint64_t i = 0; i < bytes.size() / 2; ++i) {
      const uint16_t value = peerage::kernels::BF16FromF32(scale * Noise(seed + first * row + i));
      std::memcpy(bytes.data() + 2 * i, &value, 2);
    }
    return absl::OkStatus();
  }

 private:
  const ModelConfig config_;
  const peerage::TokenizerSource tokenizer_;
  std::vector<TensorInfo> tensors_;
};

ModelConfig ConfigOf(const Options& options, int log2_experts) {
  ModelConfig config;
  config.architecture = "peerage";
  config.vocab_size = 1;
  config.hidden_size = options.d;
  config.num_heads = config.num_kv_heads = 1;
  config.head_dim = 2;
  config.max_positions = 1;
  config.tied_embeddings = true;
  config.layers.resize(1);
  peerage::ProductKeyConfig keys;
  keys.num_sub_keys = 1 << (log2_experts / 2);
  keys.num_experts = int64_t{keys.num_sub_keys} * keys.num_sub_keys;
  keys.heads = options.heads;
  keys.top_k = options.top_k;
  keys.key_dim = options.key_dim;
  keys.keys =
      options.keys == "shared" ? peerage::ProductKeys::kShared : peerage::ProductKeys::kPerHead;
  config.layers[0].ffn = {{.kind = peerage::FfnKind::kPeer, .product_keys = keys}};
  return config;
}

template <typename T>
T ValueOrExit(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << "\n";
    std::exit(1);
  }
  return *std::move(value);
}

// A layer of a size and dtype, loaded, and its measurements.
class LayerBench {
 public:
  LayerBench(const Options& options, int log2_experts, const std::string& dtype)
      : options_(options),
        checkpoint_(ConfigOf(options, log2_experts)),
        pool_(options.threads),
        most_tokens_(*std::max_element(options.tokens.begin(), options.tokens.end())) {
    using peerage::nn::ExpertDtype;
    const std::vector<std::string> names = {"auto", "f32", "bf16", "int8", "int4"};
    const auto expert_dtype =
        static_cast<ExpertDtype>(std::find(names.begin(), names.end(), dtype) - names.begin());
    peerage::nn::Arena dry_run;
    Build(expert_dtype, dry_run);
    storage_ = ValueOrExit(peerage::nn::Allocate(dry_run.used(), peerage::nn::Pages::kHuge));
    peerage::nn::Arena arena(storage_);
    weights_ = Build(expert_dtype, arena);
    workspace_ = ValueOrExit(peerage::nn::Workspace::Make(
        checkpoint_.config(), {.max_tokens = most_tokens_,
                               .threads = options.threads,
                               .expert_scratch_bytes = weights_.ExpertScratchBytes()}));
    counters_ = ValueOrExit(peerage::nn::ExpertCounters::Make(
        peerage::ExpertLayersOf(checkpoint_.config()),
        {.count = true, .trace = false, .max_tokens = most_tokens_}));
    x_.resize(size_t{kTokens} * options.d);
    for (size_t i = 0; i < x_.size(); ++i) x_[i] = Noise((uint64_t{1} << 60) + i);
  }

  // Microseconds per token, and the part of it that counting takes.
  nlohmann::json Measure(int tokens) {
    const double counted = Best(tokens, true), alone = Best(tokens, false);
    return {{"us_per_token", counted}, {"without_counting", alone}};
  }

  uint64_t scratch_bytes() const { return workspace_.storage.size; }

 private:
  peerage::nn::ModelWeights Build(peerage::nn::ExpertDtype dtype, peerage::nn::Arena& arena) {
    peerage::nn::WeightLoader loader(checkpoint_, {.expert_dtype = dtype}, &pool_, arena);
    return ValueOrExit(peerage::nn::ModelBuilder(checkpoint_.config(), loader).Build());
  }

  double Best(int tokens, bool count) {
    const auto& peer = std::get<peerage::nn::Peer>(weights_.blocks[0].ffn[0]);
    double best = 1e30;
    for (int round = 0; round < options_.repetitions; ++round) {
      const double start = Seconds();
      int done = 0;
      for (; done + tokens <= kTokens; done += tokens) {
        peer.Forward(pool_, workspace_,
                     {.input = {.x = x_.data() + size_t(done) * options_.d,
                                .stride = static_cast<size_t>(options_.d),
                                .tokens = tokens},
                      .residual = workspace_.residual,
                      .picks = counters_.picks(0)});
        if (count) counters_.Count(pool_, 0, tokens);
      }
      best = std::min(best, (Seconds() - start) / done);
    }
    return best * 1e6;
  }

  const Options& options_;
  const NoiseCheckpoint checkpoint_;
  peerage::kernels::ThreadPool pool_;
  const int most_tokens_;
  peerage::nn::Storage storage_;
  peerage::nn::ModelWeights weights_;
  peerage::nn::Workspace workspace_;
  peerage::nn::ExpertCounters counters_;
  std::vector<float> x_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures one PEER layer");
  app.add_option("--d", options.d)->check(CLI::PositiveNumber);
  app.add_option("--heads", options.heads)->check(CLI::Range(1, 32));
  app.add_option("--top-k", options.top_k)->check(CLI::Range(1, 128));
  app.add_option("--key-dim", options.key_dim)->check(CLI::Range(2, 2048));
  app.add_option("--keys", options.keys)->check(CLI::IsMember({"shared", "per_head"}));
  app.add_option("--log2-experts", options.log2_experts, "Even numbers")->delimiter(',');
  app.add_option("--dtypes", options.dtypes)
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4"}));
  app.add_option("--tokens", options.tokens, "At most 512 each")->delimiter(',');
  app.add_option("--target", options.target)->check(CLI::IsMember({"AVX2", "AVX3"}));
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber);
  app.add_option("--repetitions", options.repetitions)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  if (!options.target.empty()) {
    hwy::SetSupportedTargetsForTest(options.target == "AVX2" ? HWY_AVX2 : HWY_AVX3);
  }
  peerage::nn::InitializeTorch();
  nlohmann::json result = {{"kernel_target", peerage::kernels::KernelTarget()},
                           {"threads", options.threads}};
  for (const int log2_experts : options.log2_experts) {
    for (const std::string& dtype : options.dtypes) {
      LayerBench bench(options, log2_experts, dtype);
      auto& layer = result["layers"]["2^" + std::to_string(log2_experts)][dtype];
      for (const int tokens : options.tokens) {
        layer["T=" + std::to_string(tokens)] = bench.Measure(tokens);
      }
      layer["workspace_bytes"] = bench.scratch_bytes();
    }
  }
  std::cout << result.dump(2) << "\n";
  return 0;
}
