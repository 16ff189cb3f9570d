// One whole PEER layer: queries, sub-key scores, selection, experts, counting. Random weights of
// the format's default shape, 512 different random tokens in turn, the best of several rounds.
// Prints one JSON object; bench/peers/peer_pytorch.py measures the same layer in PyTorch.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/engine/noise_checkpoint.h"
#include "hwy/targets.h"
#include "model/kernels/kernel_target.h"
#include "model/nn/cpu/expert_counters.h"
#include "model/nn/cpu/peer.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/cpu/weight_reader.h"
#include "model/nn/cpu/workspace.h"
#include "model/nn/plan/model_plan.h"
#include "nlohmann/json.hpp"

namespace peerage {
namespace {

namespace cpu = nn::cpu;

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
  ProductKeyConfig keys;
  keys.num_sub_keys = 1 << (log2_experts / 2);
  keys.num_experts = int64_t{keys.num_sub_keys} * keys.num_sub_keys;
  keys.heads = options.heads;
  keys.top_k = options.top_k;
  keys.key_dim = options.key_dim;
  keys.keys = options.keys == "shared" ? ProductKeys::kShared : ProductKeys::kPerHead;
  config.layers[0].ffn = {PeerConfig{.keys = keys}};
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
        plan_(nn::PlanModel(checkpoint_.config())),
        pool_(options.threads),
        counters_(CountersOf(true)),
        no_counters_(CountersOf(false)) {
    std::vector<cpu::WeightPlacer::Read> reads;
    weights_storage_ = ValueOrExit(cpu::AllocateFor(cpu::Pages::kHuge, [&](cpu::Arena& arena) {
      cpu::WeightPlacer placer(checkpoint_, {.experts = DtypeOf(dtype)}, arena);
      peer_ = cpu::Peer::Place(std::get<nn::PeerPlan>(plan_.blocks[0].ffn[0]), placer);
      reads = placer.reads();
    }));
    cpu::WeightReader reader(checkpoint_, pool_, {});
    for (const cpu::WeightPlacer::Read& read : reads) {
      if (const absl::Status status = read(reader); !status.ok()) ValueOrExit<int>(status);
    }
    buffers_storage_ = ValueOrExit(cpu::AllocateFor(cpu::Pages::kNormal, [&](cpu::Arena& arena) {
      workspace_.Lay({.widths = plan_.Buffers(),
                      .hidden_size = plan_.hidden_size,
                      .vocab_size = plan_.vocab_size,
                      .max_tokens = most_tokens(),
                      .threads = options.threads,
                      .expert_scratch_bytes = peer_.ScratchBytes()},
                     arena);
      workspace_bytes_ = arena.used();
      counters_.LayPicks(arena);
      no_counters_.LayPicks(arena);
    }));
    counters_storage_ = ValueOrExit(cpu::AllocateFor(
        cpu::Pages::kHuge, [&](cpu::Arena& arena) { counters_.LayCounters(arena); }));
    x_.resize(size_t{kTokens} * options.d);
    for (size_t i = 0; i < x_.size(); ++i) x_[i] = Noise((uint64_t{1} << 60) + i);
  }

  // Microseconds per token, and what it takes when nothing is counted.
  nlohmann::json Measure(int tokens) {
    const double counted = Best(tokens, counters_), alone = Best(tokens, no_counters_);
    return {{"us_per_token", counted}, {"without_counting", alone}};
  }

  uint64_t scratch_bytes() const { return workspace_bytes_; }

 private:
  static nn::ExpertDtype DtypeOf(const std::string& name) {
    const std::vector<std::string> names = {"auto", "f32", "bf16", "int8", "int4", "fp8"};
    return static_cast<nn::ExpertDtype>(std::find(names.begin(), names.end(), name) -
                                        names.begin());
  }

  int most_tokens() const {
    return *std::max_element(options_.tokens.begin(), options_.tokens.end());
  }

  cpu::ExpertCounters CountersOf(bool count) const {
    return cpu::ExpertCounters(plan_.ExpertLayers(),
                               {.count = count, .trace = false, .max_tokens = most_tokens()});
  }

  // A batch of so many tokens of one sequence, of which the layer looks at the number alone.
  double Best(int tokens, cpu::ExpertCounters& counters) {
    const std::vector<TokenId> ids(tokens);
    const std::vector<BlockId> blocks(tokens);
    const Chunk chunk{.tokens = ids, .blocks = blocks};
    nn::StepBatch batch(1);
    batch.Assign({.chunks = {&chunk, 1}});
    cpu::StepTables tables;
    const nn::InputTap no_tap;
    const cpu::StepContext step{pool_, workspace_, batch, tables, counters, no_tap};
    double best = 1e30;
    for (int round = 0; round < options_.repetitions; ++round) {
      const double start = Seconds();
      int done = 0;
      for (; done + tokens <= kTokens; done += tokens) {
        peer_.Forward(step, {.x = x_.data() + size_t(done) * options_.d,
                             .stride = static_cast<size_t>(options_.d),
                             .tokens = tokens});
      }
      best = std::min(best, (Seconds() - start) / done);
    }
    return best * 1e6;
  }

  const Options& options_;
  const NoiseCheckpoint checkpoint_;
  const nn::ModelPlan plan_;
  kernels::ThreadPool pool_;
  cpu::Storage weights_storage_, buffers_storage_, counters_storage_;
  cpu::Peer peer_;
  cpu::Workspace workspace_;
  size_t workspace_bytes_ = 0;
  cpu::ExpertCounters counters_;
  cpu::ExpertCounters no_counters_;
  std::vector<float> x_;
};

}  // namespace
}  // namespace peerage

int main(int argc, char** argv) {
  using peerage::LayerBench;
  peerage::Options options;
  CLI::App app("Measures one PEER layer");
  app.add_option("--d", options.d)->check(CLI::PositiveNumber);
  app.add_option("--heads", options.heads)->check(CLI::Range(1, 32));
  app.add_option("--top-k", options.top_k)->check(CLI::Range(1, 128));
  app.add_option("--key-dim", options.key_dim)->check(CLI::Range(2, 2048));
  app.add_option("--keys", options.keys)->check(CLI::IsMember({"shared", "per_head"}));
  app.add_option("--log2-experts", options.log2_experts, "Even numbers")->delimiter(',');
  app.add_option("--dtypes", options.dtypes)
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4", "fp8"}));
  app.add_option("--tokens", options.tokens, "At most 512 each")->delimiter(',');
  app.add_option("--target", options.target)->check(CLI::IsMember({"AVX2", "AVX3"}));
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber);
  app.add_option("--repetitions", options.repetitions)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  if (!options.target.empty()) {
    hwy::SetSupportedTargetsForTest(options.target == "AVX2" ? HWY_AVX2 : HWY_AVX3);
  }
  nlohmann::json result = {{"kernel_target", std::string(peerage::kernels::KernelTarget())},
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
