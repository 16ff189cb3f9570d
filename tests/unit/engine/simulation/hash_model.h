#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "model/language_model.h"
#include "tests/unit/engine/simulation/verdict.h"

namespace peerage {

// A model that gives simulation/answers.h, as fast as can be: FakeModel, made for millions of
// steps.
//
// Its KV cache stores what was fed: each cell of a block knows its position and the hashes of the
// tokens before and up to it. Each step follows the chain through every block that a chunk names,
// so a wrong block, position, branch or copy is found where it is read, or changes the answer.
//
// Threads: none.
class HashModel final : public LanguageModel {
 public:
  // `verdict` must outlive the model. `on_step` sees each step's input before it is computed.
  HashModel(const ModelCapacity& capacity, Verdict* verdict,
            std::function<void(const StepInput&)> on_step);

  // Instead of computing the next step.
  enum class Fault { kFails, kThrows, kIsLost };
  void BreakNextStep(Fault fault) { next_fault_ = fault; }
  // Chunks with this token fail, as with a NaN.
  void PoisonToken(TokenId token) { poison_ = token; }

  // Under which salt the slot's tokens are computed, and may be read again.
  void SetSalt(SlotId slot, uint64_t salt) { slots_[slot].salt = salt; }

  // Since this was last called.
  std::vector<SlotId> TakeOpened() { return std::exchange(opened_, {}); }
  int num_open_slots() const { return open_slots_; }

  const ModelDescription& description() const override { return description_; }
  const ModelCapacity& capacity() const override { return capacity_; }
  void Open(SlotId slot, const SlotState& state) override;
  void Close(SlotId slot) override;
  absl::StatusOr<StepOutput> Step(const StepInput& input) override;
  UsageTotals ReadUsage(int, absl::Span<ExpertCount>) override { return {}; }
  void ReadSubKeys(int, absl::Span<uint64_t>) override {}
  void ClearUsage() override {}

 private:
  struct Cell {
    int32_t position = -1;  // never written
    uint64_t before = 0;    // the hash of the tokens before it
    uint64_t past = 0;      // the same with its own
    uint64_t step = 0;      // that wrote it
    uint64_t salt = 0;      // of who wrote it
  };
  struct Slot {
    bool is_open = false;
    SamplingParams sampling = {};
    uint32_t candidate = 0;
    uint64_t salt = 0;
    uint32_t generated = 0;
    uint64_t past = 0;       // the hash of what it has seen: prompt and generated
    uint64_t last_step = 0;  // with a chunk of it
  };

  Cell& CellAt(const Chunk& chunk, int32_t position);
  uint64_t FollowPast(const Chunk& chunk);
  void Write(const Chunk& chunk, uint64_t past);
  void Compute(const StepInput& input);
  void PickExperts(const StepInput& input);
  void Answer(const StepInput& input);
  void AnswerRow(const OutputRow& row, const Chunk& chunk);

  const ModelCapacity capacity_;
  Verdict& verdict_;
  const std::function<void(const StepInput&)> on_step_;
  ModelDescription description_;
  std::optional<Fault> next_fault_;
  std::optional<TokenId> poison_;

  uint64_t step_ = 0;
  int open_slots_ = 0;
  std::vector<SlotId> opened_;
  std::vector<Cell> cells_;                     // [blocks, block_tokens]
  std::vector<Slot> slots_;                     // [num_slots]
  std::vector<uint64_t> pasts_;                 // [chunks], before their tokens
  std::vector<TokenScore> scores_;              // of all rows
  std::vector<TokenAlternative> alternatives_;  // likewise
  std::vector<RowOutput> rows_;
  std::vector<absl::Status> chunk_status_;
  std::vector<uint32_t> pick_ids_;  // [tokens, top_k]
  std::vector<float> pick_weights_;
  std::vector<ExpertPicks> picks_;  // of the one expert layer
};

}  // namespace peerage
