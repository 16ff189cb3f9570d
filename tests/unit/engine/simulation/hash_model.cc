#include "tests/unit/engine/simulation/hash_model.h"

#include <algorithm>
#include <new>
#include <utility>

#include "tests/unit/engine/simulation/answers.h"

namespace peerage {

HashModel::HashModel(const ModelCapacity& capacity, Verdict* verdict,
                     std::function<void(const StepInput&)> on_step)
    : capacity_(capacity),
      verdict_(*verdict),
      on_step_(std::move(on_step)),
      cells_(capacity.num_blocks * capacity.block_tokens),
      slots_(capacity.num_slots) {
  description_.vocabulary_size = answers::kVocabulary;
  description_.expert_layers = {answers::kExperts};
}

void HashModel::Open(SlotId slot, const SlotState& state) {
  const bool exists = slot >= 0 && slot < capacity_.num_slots;
  verdict_.Require(exists && !slots_[slot].is_open, "slot ", slot, " is opened twice");
  if (!verdict_.ok()) return;
  slots_[slot] = {
      .is_open = true,
      .sampling = state.sampling,
      .candidate = state.candidate,
      .generated = static_cast<uint32_t>(state.generated.size()),
      .past = answers::Hash(answers::Hash(answers::kNothing, state.prompt), state.generated)};
  ++open_slots_;
  opened_.push_back(slot);
}

void HashModel::Close(SlotId slot) {
  const bool exists = slot >= 0 && slot < capacity_.num_slots;
  verdict_.Require(exists && slots_[slot].is_open, "slot ", slot, " is closed, and was not open");
  if (!verdict_.ok()) return;
  slots_[slot].is_open = false;
  --open_slots_;
}

absl::StatusOr<StepOutput> HashModel::Step(const StepInput& input) {
  on_step_(input);
  // What is wrong is found already, and need not be survived.
  if (!verdict_.ok()) return absl::InternalError("the simulation ends");
  ++step_;
  if (const auto fault = std::exchange(next_fault_, std::nullopt)) {
    if (*fault == Fault::kThrows) throw std::bad_alloc();
    if (*fault == Fault::kIsLost) return absl::UnavailableError("injected");
    return absl::UnknownError("injected");
  }
  Compute(input);
  PickExperts(input);
  if (verdict_.ok()) Answer(input);
  if (!verdict_.ok()) return absl::InternalError("the simulation ends");
  return StepOutput{.rows = rows_, .chunk_status = chunk_status_, .picks = picks_};
}

void HashModel::Compute(const StepInput& input) {
  for (const BlockCopy& copy : input.copies) {
    const int32_t size = capacity_.block_tokens;
    std::copy_n(cells_.begin() + copy.from * size, size, cells_.begin() + copy.to * size);
  }
  pasts_.clear();
  chunk_status_.assign(input.chunks.size(), absl::OkStatus());
  int64_t tokens = 0;
  for (const Chunk& chunk : input.chunks) {
    tokens += static_cast<int64_t>(chunk.tokens.size());
    pasts_.push_back(FollowPast(chunk));
  }
  verdict_.Require(tokens <= capacity_.max_step_tokens, "a step of ", tokens, " tokens");
  for (size_t i = 0; verdict_.ok() && i < input.chunks.size(); ++i) {
    const auto& given = input.chunks[i].tokens;
    if (poison_ && std::find(given.begin(), given.end(), *poison_) != given.end()) {
      chunk_status_[i] = absl::InternalError("NaN in the logits");
    }
    Write(input.chunks[i], pasts_[i]);
  }
}

HashModel::Cell& HashModel::CellAt(const Chunk& chunk, int32_t position) {
  const int32_t size = capacity_.block_tokens;
  return cells_[chunk.blocks[position / size] * size + position % size];
}

// The hash of what the chunk's blocks hold of the tokens before it.
uint64_t HashModel::FollowPast(const Chunk& chunk) {
  const bool is_open = slots_[chunk.slot].is_open;
  verdict_.Require(is_open, "a chunk of slot ", chunk.slot, ", which is closed");
  verdict_.Require(std::exchange(slots_[chunk.slot].last_step, step_) != step_,
                   "two chunks of slot ", chunk.slot);
  const auto end = chunk.first_position + static_cast<int32_t>(chunk.tokens.size());
  const auto room = static_cast<int32_t>(chunk.blocks.size()) * capacity_.block_tokens;
  verdict_.Require(end > chunk.first_position, "an empty chunk");
  verdict_.Require(end <= room, "the blocks of slot ", chunk.slot, " end too early");
  uint64_t past = answers::kNothing;
  for (int32_t position = 0; verdict_.ok() && position < chunk.first_position; ++position) {
    const Cell& cell = CellAt(chunk, position);
    verdict_.Require(cell.position == position && cell.before == past, "slot ", chunk.slot,
                     " finds something else at position ", position);
    verdict_.Require(cell.salt == slots_[chunk.slot].salt, "slot ", chunk.slot,
                     " reads what was computed under another salt at position ", position);
    past = cell.past;
  }
  return past;
}

void HashModel::Write(const Chunk& chunk, uint64_t past) {
  int32_t position = chunk.first_position;
  for (TokenId token : chunk.tokens) {
    Cell& cell = CellAt(chunk, position);
    verdict_.Require(cell.step != step_, "two sequences write to one place in one step");
    const uint64_t before = std::exchange(past, answers::Mix(past, token));
    cell = {.position = position++,
            .before = before,
            .past = past,
            .step = step_,
            .salt = slots_[chunk.slot].salt};
  }
}

void HashModel::PickExperts(const StepInput& input) {
  pick_ids_.clear();
  pick_weights_.clear();
  const auto traced = [](const Chunk& chunk) { return chunk.trace; };
  const bool wanted = std::any_of(input.chunks.begin(), input.chunks.end(), traced);
  for (const Chunk& chunk : input.chunks) {
    int32_t position = chunk.first_position;
    for (TokenId token : wanted ? chunk.tokens : absl::Span<const TokenId>()) {
      for (uint32_t k = 0; k < answers::kExperts.top_k; ++k) {
        const uint32_t expert = answers::Pick(token, position, k);
        pick_ids_.push_back(chunk.trace ? expert : UINT32_MAX);  // not to be looked at
        pick_weights_.push_back(answers::PickWeight(expert));
      }
      ++position;
    }
  }
  picks_.assign(1, {pick_ids_, pick_weights_});
}

void HashModel::Answer(const StepInput& input) {
  size_t scores = 0, alternatives = 0;
  for (const OutputRow& row : input.rows) {
    scores += row.sample ? 1 : row.targets.size();
    alternatives += std::max(row.alternatives, 0);
  }
  // Nothing moves while spans of it are handed out.
  scores_.clear();
  scores_.reserve(scores);
  alternatives_.clear();
  alternatives_.reserve(alternatives);
  rows_.clear();
  for (const OutputRow& row : input.rows) {
    AnswerRow(row, input.chunks[row.chunk]);
    if (!chunk_status_[row.chunk].ok()) rows_.back() = {};
  }
}

void HashModel::AnswerRow(const OutputRow& row, const Chunk& chunk) {
  const uint64_t past = CellAt(chunk, chunk.first_position + row.row).past;
  const size_t first_score = scores_.size(), first_alternative = alternatives_.size();
  if (row.sample) {
    Slot& slot = slots_[chunk.slot];
    verdict_.Require(slot.past == past && row.targets.empty(), "slot ", chunk.slot,
                     " has not seen the sequence that it samples for");
    const TokenId token = answers::Draw(past, slot.sampling, slot.candidate, slot.generated);
    scores_.push_back(answers::Score(past, token));
    slot.past = answers::Mix(past, token);
    ++slot.generated;
  }
  for (TokenId token : row.targets) scores_.push_back(answers::Score(past, token));
  for (int32_t i = 0; i < row.alternatives; ++i) {
    alternatives_.push_back(answers::Alternative(past, i));
  }
  rows_.push_back({absl::MakeSpan(scores_).subspan(first_score),
                   absl::MakeSpan(alternatives_).subspan(first_alternative)});
}

}  // namespace peerage
