#include "model/nn/cpu/model_weights.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "model/nn/cpu/weight_formats.h"
#include "model/nn/cpu/weight_reader.h"

namespace peerage::nn::cpu {

Weights Weights::Place(const ModelPlan& plan, WeightPlacer& placer) {
  LinearLayer embedding = placer.Linear(Rows({plan.embedding}));
  std::vector<Block> blocks;
  for (size_t i = 0; i < plan.blocks.size(); ++i) {
    blocks.push_back(Block::Place(plan.blocks[i], static_cast<int>(i), placer));
  }
  const Norm final_norm = Norm::Place(plan.final_norm, placer);
  const kernels::PackedMatrix table = embedding.parts.front();
  OutputHead head(final_norm,
                  plan.head.has_value() ? placer.Linear(Rows({*plan.head})) : std::move(embedding));
  return {table, std::move(blocks), std::move(head)};
}

size_t Weights::ExpertScratchBytes() const {
  size_t most = 0;
  for (const Block& block : blocks) most = std::max(most, block.ScratchBytes());
  return most;
}

void Weights::Link() {
  std::vector<LinearLayer*> order;
  for (Block& block : blocks) block.AppendWeights(order);
  head.AppendWeights(order);
  for (size_t i = 0; i < order.size(); ++i) {
    order[i]->next = order[(i + 1) % order.size()]->parts.front().tiles;
  }
}

absl::StatusOr<std::shared_ptr<const ModelWeights>> ModelWeights::Read(const ModelPlan& plan,
                                                                       const Checkpoint& checkpoint,
                                                                       const LoadOptions& options,
                                                                       kernels::ThreadPool& pool) {
  const auto model = std::make_shared<ModelWeights>();
  std::vector<WeightPlacer::Read> reads;
  const auto place = [&](Arena& arena) {
    WeightPlacer placer(checkpoint, FormatsOf(options), arena);
    model->weights_ = Weights::Place(plan, placer);
    model->bytes_ = arena.used();
    model->dtype_ = std::string(Name(placer.dominant_format()));
    reads = placer.reads();
  };
  ASSIGN_OR_RETURN(model->storage_, AllocateFor(Pages::kHuge, place));
  WeightReader reader(checkpoint, pool, options.progress);
  for (const WeightPlacer::Read& read : reads) RETURN_IF_ERROR(read(reader));
  model->weights_->Link();
  return model;
}

}  // namespace peerage::nn::cpu
