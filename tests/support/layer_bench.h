#pragma once

#include <gtest/gtest.h>

#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "model/kernels/thread_pool.h"
#include "model/nn/cpu/expert_counters.h"
#include "model/nn/cpu/kv_cache.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/cpu/weight_reader.h"
#include "model/nn/cpu/workspace.h"
#include "model/nn/plan/model_plan.h"
#include "model/nn/step/step_batch.h"
#include "tests/support/product_key_loop.h"

namespace peerage::nn::cpu {

// A piece of a sequence that a test feeds into one layer. Ids of tokens are nobody's business.
struct BenchChunk {
  int tokens = 0;
  int first_position = 0;
  std::vector<BlockId> blocks;
};

// One layer of the CPU by itself: its weights, and the buffers that a step of its model has. Every
// buffer ends where its plan says, so that the address sanitizer sees who takes more.
class LayerBench {
 public:
  // `checkpoint` outlives the bench. Of the options, those of a device count; the cache has
  // kKvBlocks blocks.
  LayerBench(const Checkpoint& checkpoint, LoadOptions options);
  static constexpr int kKvBlocks = 12;

  // Places and reads what place(WeightPlacer&) returns.
  template <typename Place>
  auto Load(const Place& place) {
    std::optional<decltype(place(std::declval<WeightPlacer&>()))> layer;
    std::vector<WeightPlacer::Read> reads;
    auto storage = AllocateFor(Pages::kNormal, [&](Arena& arena) {
      WeightPlacer placer(checkpoint_, {options_.weights_dtype, options_.expert_dtype}, arena);
      layer.emplace(place(placer));
      reads = placer.reads();
    });
    EXPECT_TRUE(storage.ok()) << storage.status();
    weights_.push_back(*std::move(storage));
    WeightReader reader(checkpoint_, pool_, {});
    for (const WeightPlacer::Read& read : reads) {
      const absl::Status status = read(reader);
      EXPECT_TRUE(status.ok()) << status;
    }
    return *std::move(layer);
  }

  // Takes the buffers of steps, with the scratch memory that the layer's experts want.
  void LayBuffers(size_t expert_scratch_bytes = 0);

  // Begins a step: the chunks' tokens side by side. What lies in the buffers stays.
  StepContext Begin(const std::vector<BenchChunk>& chunks);

  // What layers read: `rows` [tokens][hidden], as if a norm had left them there.
  Activations Input(const std::vector<float>& rows);
  // Sets and reads the residual stream, [tokens][hidden].
  void SetResidual(const std::vector<float>& rows);
  std::vector<float> Residual() const;

  const ModelPlan& plan() const { return plan_; }
  KvCache& kv_cache() { return kv_cache_; }
  ExpertCounters& counters() { return counters_; }
  Workspace& workspace() { return workspace_; }
  StepBatch& batch() { return batch_; }
  kernels::ThreadPool& pool() { return pool_; }
  void set_tap(InputTap tap) { tap_ = std::move(tap); }

 private:
  const Checkpoint& checkpoint_;
  const LoadOptions options_;
  const ModelPlan plan_;
  std::list<Storage> weights_;
  Storage kv_, buffers_, counts_, picks_;
  KvCache kv_cache_;
  ExpertCounters counters_;
  Workspace workspace_;
  StepTables tables_;
  StepBatch batch_;
  InputTap tap_;
  kernels::ThreadPool pool_;
  std::vector<std::vector<TokenId>> tokens_;  // by chunk
  std::vector<BenchChunk> pieces_;
  std::vector<Chunk> chunks_;
};

// Rows of floats as the double references take them, and the other way round.
DoubleRows ToRows(const std::vector<float>& values, size_t width);

// Every value is within `tolerance` of the reference's.
void ExpectRowsNear(const std::vector<float>& actual, const DoubleRows& expected, double tolerance);

}  // namespace peerage::nn::cpu
