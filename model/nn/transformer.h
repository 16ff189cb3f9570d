#pragma once

#include <memory>
#include <vector>

#include "model/language_model.h"
#include "model/nn/block.h"
#include "model/nn/kv_cache.h"
#include "model/nn/output_head.h"
#include "model/nn/sampler.h"
#include "model/nn/storage.h"

namespace peerage::nn {

// The parts of a loaded model, in the order a token meets them. Layers point into `weights`.
struct TransformerParts {
  Storage weights;
  kernels::PackedMatrix embedding;
  std::vector<Block> blocks;
  OutputHead head;
  KvCache kv_cache;
  Workspace workspace;
  ExpertCounters counters;
  StepBatch batch;
  std::unique_ptr<kernels::ThreadPool> pool;
};

// A decoder-only transformer on the CPU.
//
//   x = embedding[token];  x = block_l(x) for every layer;  logits = W_head norm(x)
class Transformer : public LanguageModel {
 public:
  Transformer(ModelDescription description, ModelCapacity capacity, TransformerParts parts);

  const ModelDescription& description() const override { return description_; }
  const ModelCapacity& capacity() const override { return capacity_; }

  void Open(SlotId slot, const SamplingParams& sampling, absl::Span<const TokenId> prompt) override;
  void Fork(SlotId from, SlotId to, uint32_t candidate) override;
  void Close(SlotId slot) override;
  absl::StatusOr<StepOutput> Step(const StepInput& input) override;
  uint64_t ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override {
    return parts_.counters.Read(expert_layer, counts);
  }
  void ClearUsage() override { parts_.counters.Clear(); }

 private:
  void Embed();

  const ModelDescription description_;
  const ModelCapacity capacity_;
  TransformerParts parts_;
  std::vector<Sampler> samplers_;  // by slot
};

}  // namespace peerage::nn
