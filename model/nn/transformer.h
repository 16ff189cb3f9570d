#pragma once

#include <memory>
#include <vector>

#include "model/language_model.h"
#include "model/nn/forward_pass.h"

namespace peerage::nn {

// A decoder-only transformer on any device: the slots of its sequences, the layout of each step,
// and where its results lie. The device computes.
class Transformer : public LanguageModel {
 public:
  Transformer(ModelDescription description, ModelCapacity capacity,
              std::unique_ptr<ForwardPass> forward_pass);

  const ModelDescription& description() const override { return description_; }
  const ModelCapacity& capacity() const override { return capacity_; }

  void Open(SlotId slot, const SlotState& state) override;
  void Close(SlotId slot) override;
  absl::StatusOr<StepOutput> Step(const StepInput& input) override;
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override;
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override;
  void ClearUsage() override;

 private:
  const ModelDescription description_;
  const ModelCapacity capacity_;
  const std::unique_ptr<ForwardPass> forward_pass_;
  std::vector<Slot> slots_;  // by SlotId
  StepBatch batch_;
  OutputRows rows_;
  HiddenRows hidden_;
};

}  // namespace peerage::nn
