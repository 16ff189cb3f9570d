#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "model/language_model.h"

namespace peerage {

struct FakeModelOptions {
  ModelCapacity capacity = {
      .block_tokens = 4, .num_blocks = 64, .num_slots = 16, .max_step_tokens = 64};
  uint32_t vocabulary_size = 32;
  uint32_t context_length = 256;
  std::vector<ExpertLayer> expert_layers = {};
  // Told at the beginning of each step, on its thread, what its chunks belong to: each sequence
  // from its first token to the chunk's last. May be null.
  std::function<void(const std::vector<std::vector<TokenId>>& sequences)> at_step = nullptr;
  std::shared_ptr<void> goes_with_it = nullptr;  // when the model is destroyed
};

// A language model whose answers are hashes of the tokens before them.
//
// Its KV cache stores what was fed: each cell of a block knows its token and position, and every
// answer is computed from what the chunk's block table leads to. So a wrong block, position, fork
// or copy changes the answers or, where it can be named, fails the test with a message. The
// functions below give the right answers for comparison. Of what requests ask of routers, it does
// what they force, and lets the rest pass.
//
// Threads: the model's part as LanguageModel says; the gate and the faults are safe from many.
class FakeModel final : public LanguageModel {
 public:
  explicit FakeModel(const FakeModelOptions& options = {});

  // What a right model answers after `history`, the whole sequence so far.
  static TokenId NextToken(absl::Span<const TokenId> history, const SamplingParams& sampling,
                           uint32_t candidate, uint32_t generated, uint32_t vocabulary_size = 32);
  static float Logprob(absl::Span<const TokenId> history, TokenId token);
  static uint32_t Rank(absl::Span<const TokenId> history, TokenId token);
  static std::vector<TokenAlternative> Alternatives(absl::Span<const TokenId> history, int count);

  // What a token at a position picks in an expert layer: [heads, top_k], ids apart in each head.
  // Some weights are 0, some have bits below ExpertCount::kUnit.
  struct Picks {
    std::vector<uint32_t> ids;
    std::vector<float> weights;
  };
  static Picks PicksOf(const ExpertLayer& layer, TokenId token, int32_t position);

  // The hidden state behind a layer of the last token of `history`: [hidden_size].
  static std::vector<float> HiddenState(absl::Span<const TokenId> history, int32_t layer);

  const ModelDescription& description() const override { return description_; }
  const ModelCapacity& capacity() const override { return options_.capacity; }
  void Open(SlotId slot, const SlotState& state) override;
  void Close(SlotId slot) override;
  absl::StatusOr<StepOutput> Step(const StepInput& input) override;
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override;
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override;
  void ClearUsage() override;

  // The gate: while it is shut, a step waits before it begins until it is let through.
  void ShutGate();
  void OpenGate();
  // Waits until a step is at the gate.
  void AwaitStep();
  // Waits until a step is at the gate, lets it through, and waits until it has answered.
  void LetStepThrough();

  // Faults.
  void FailNextStep(absl::Status status);
  void ThrowInNextStep();  // std::bad_alloc
  // Chunks that contain this token fail with INTERNAL, as a NaN would.
  void PoisonToken(TokenId token);

  int num_open_slots() const;
  int64_t num_computed_tokens() const;
  int64_t num_hidden_rows() const;  // that were asked for
  // Chunks of the last step, as (slot, first position, tokens).
  struct SeenChunk {
    SlotId slot;
    int32_t first_position;
    std::vector<TokenId> tokens;
  };
  std::vector<SeenChunk> last_chunks() const;

 private:
  struct Cell {
    TokenId token = 0;
    int32_t position = -1;  // never written
    uint64_t step = 0;      // that wrote it
  };
  struct Slot {
    SamplingParams sampling;
    uint32_t candidate = 0;
    std::vector<TokenId> seen;  // prompt and generated
    uint32_t generated = 0;
  };

  absl::Status PassGate();
  Cell& CellAt(const Chunk& chunk, int32_t position);
  std::vector<TokenId> ReadHistory(const Chunk& chunk);
  void Write(const Chunk& chunk);
  void TellStep(const StepInput& input, std::vector<std::vector<TokenId>> sequences);
  void CheckChunks(const StepInput& input);
  static void Force(const TokenControl& control, Picks& picks);
  void Count(size_t layer, const Picks& picks);  // of one token
  void PickExperts(const StepInput& input);
  void ReportHidden(const StepInput& input, absl::Span<const std::vector<TokenId>> histories);
  void Answer(const OutputRow& row, absl::Span<const TokenId> history, Slot& slot);

  const FakeModelOptions options_;
  ModelDescription description_;

  // The worker's thread's.
  uint64_t step_ = 0;
  std::vector<Cell> cells_;  // [blocks, block_tokens]
  std::map<SlotId, Slot> slots_;
  std::vector<std::vector<TokenScore>> scores_;              // [rows]
  std::vector<std::vector<TokenAlternative>> alternatives_;  // [rows]
  std::vector<RowOutput> rows_;
  std::vector<absl::Status> chunk_status_;
  std::vector<std::vector<ExpertCount>> counts_;  // [expert layers, experts]
  std::vector<UsageTotals> totals_;               // [expert layers]
  std::vector<std::vector<uint64_t>> sub_keys_;   // [expert layers, heads * 2 * num_sub_keys]
  std::vector<Picks> layer_picks_;                // [expert layers] of the step's tokens
  std::vector<ExpertPicks> picks_;                // views of them
  std::vector<std::vector<float>> hidden_values_;
  std::vector<absl::Span<const float>> hidden_;  // views of them

  mutable absl::Mutex mu_;
  bool gate_shut_ ABSL_GUARDED_BY(mu_) = false;
  bool at_gate_ ABSL_GUARDED_BY(mu_) = false;
  int64_t passes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t answered_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<absl::Status> next_failure_ ABSL_GUARDED_BY(mu_);
  bool next_throws_ ABSL_GUARDED_BY(mu_) = false;
  std::set<TokenId> poisoned_ ABSL_GUARDED_BY(mu_);
  int open_slots_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t computed_tokens_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t hidden_rows_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<SeenChunk> last_chunks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
