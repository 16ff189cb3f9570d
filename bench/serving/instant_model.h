#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/language_model.h"

namespace peerage {

// A model that takes no time: whatever it is asked, it answers the letter that belongs to the
// position. So what a server costs around its model can be measured.
//
// Threads: as LanguageModel.
class InstantModel final : public LanguageModel {
 public:
  InstantModel(const ModelCapacity& capacity, uint32_t vocabulary_size, uint32_t context_length);

  const ModelDescription& description() const override { return description_; }
  const ModelCapacity& capacity() const override { return capacity_; }
  void Open(SlotId slot, const SlotState& state) override {}
  void Close(SlotId slot) override {}
  absl::StatusOr<StepOutput> Step(const StepInput& input) override;
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override { return {}; }
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override {}
  void ClearUsage() override {}

 private:
  const ModelCapacity capacity_;
  ModelDescription description_;
  std::vector<TokenScore> scores_;  // one after the other, of all rows
  std::vector<RowOutput> rows_;
  std::vector<absl::Status> chunk_status_;
};

}  // namespace peerage
