#include "model/nn/transformer.h"

#include <utility>

#include "base/status_macros.h"

namespace peerage::nn {

Transformer::Transformer(ModelDescription description, ModelCapacity capacity,
                         std::unique_ptr<ForwardPass> forward_pass)
    : description_(std::move(description)),
      capacity_(capacity),
      forward_pass_(std::move(forward_pass)),
      slots_(capacity.num_slots),
      batch_(capacity.block_tokens),
      rows_(static_cast<int>(description_.vocabulary_size)),
      hidden_(static_cast<int>(description_.hidden_size)) {}

void Transformer::Open(SlotId slot, const SlotState& state) { slots_[slot] = Slot(state); }

void Transformer::Close(SlotId slot) { slots_[slot] = Slot(); }

absl::StatusOr<StepOutput> Transformer::Step(const StepInput& input) {
  batch_.Assign(input);
  rows_.Assign(input, batch_);
  hidden_.Assign(input, batch_);
  RETURN_IF_ERROR(forward_pass_->Run(batch_, absl::MakeSpan(slots_), rows_, hidden_));
  StepOutput output = rows_.Output();
  output.hidden = hidden_.Output();
  output.picks = forward_pass_->Picks();
  return output;
}

UsageTotals Transformer::ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) {
  return forward_pass_->ReadUsage(expert_layer, counts);
}

void Transformer::ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) {
  forward_pass_->ReadSubKeys(expert_layer, counts);
}

void Transformer::ClearUsage() { forward_pass_->ClearUsage(); }

}  // namespace peerage::nn
