#include "tests/support/fake_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <set>
#include <utility>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15;
  return hash ^ (hash >> 29);
}

uint64_t Hash(absl::Span<const TokenId> history) {
  uint64_t hash = 0x243F6A8885A308D3;
  for (TokenId token : history) hash = Mix(hash, token);
  return hash;
}

template <typename T>
void AppendTo(const std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

bool Contains(const std::vector<TokenId>& ids, TokenId token) {
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

constexpr uint64_t kRecordBytes = 192;
constexpr uint32_t kHiddenSize = 3;

}  // namespace

FakeModel::FakeModel(const FakeModelOptions& options)
    : options_(options), cells_(options.capacity.num_blocks * options.capacity.block_tokens) {
  description_.architecture = "fake";
  description_.fingerprint = "fa4e";
  description_.vocabulary_size = options.vocabulary_size;
  description_.context_length = options.context_length;
  description_.device = "cpu";
  description_.expert_layers = options.expert_layers;
  description_.takes_expert_control = true;
  description_.num_layers = 1;
  description_.hidden_size = kHiddenSize;
  for (const ExpertLayer& layer : options.expert_layers) {
    counts_.emplace_back(layer.num_experts);
    totals_.emplace_back();
    sub_keys_.emplace_back(size_t{2} * layer.heads * layer.num_sub_keys);
    description_.num_layers = std::max(description_.num_layers, layer.layer + 1);
  }
}

TokenId FakeModel::NextToken(absl::Span<const TokenId> history, const SamplingParams& sampling,
                             uint32_t candidate, uint32_t generated, uint32_t vocabulary_size) {
  uint64_t hash = Hash(history);
  if (sampling.temperature != 0) hash = Mix(Mix(hash, sampling.seed), candidate);
  TokenId token = static_cast<TokenId>(hash % vocabulary_size);
  while (generated < sampling.min_tokens && Contains(sampling.masked_ids, token)) {
    token = (token + 1) % vocabulary_size;
  }
  return token;
}

float FakeModel::Logprob(absl::Span<const TokenId> history, TokenId token) {
  return -static_cast<float>(1 + Mix(Hash(history), token) % 1000) / 128;
}

uint32_t FakeModel::Rank(absl::Span<const TokenId> history, TokenId token) {
  return 1 + static_cast<uint32_t>(Mix(Hash(history), token) % 17);
}

std::vector<TokenAlternative> FakeModel::Alternatives(absl::Span<const TokenId> history,
                                                      int count) {
  std::vector<TokenAlternative> alternatives;
  for (int i = 0; i < count; ++i) {
    const TokenId token = static_cast<TokenId>((Hash(history) + i) % 32);
    alternatives.push_back({.token = token, .logprob = -static_cast<float>(i + 1) / 8});
  }
  return alternatives;
}

FakeModel::Picks FakeModel::PicksOf(const ExpertLayer& layer, TokenId token, int32_t position) {
  const uint64_t hash = Mix(Mix(Mix(layer.layer, static_cast<int>(layer.kind)), token), position);
  Picks picks;
  for (uint32_t head = 0; head < layer.heads; ++head) {
    const uint64_t first = Mix(hash, head);
    for (uint32_t k = 0; k < layer.top_k; ++k) {
      picks.ids.push_back(static_cast<uint32_t>((first + k) % layer.num_experts));
      picks.weights.push_back(static_cast<float>(Mix(first, k) % 1000) / 3000);
    }
  }
  return picks;
}

std::vector<float> FakeModel::HiddenState(absl::Span<const TokenId> history, int32_t layer) {
  std::vector<float> values;
  for (uint32_t i = 0; i < kHiddenSize; ++i) {
    values.push_back(static_cast<float>(Mix(Mix(Hash(history), layer), i) % 10007) / 64);
  }
  return values;
}

void FakeModel::Open(SlotId slot, const SlotState& state) {
  EXPECT_TRUE(slot >= 0 && slot < options_.capacity.num_slots) << "no slot " << slot;
  Slot opened{.sampling = state.sampling,
              .candidate = state.candidate,
              .seen = {state.prompt.begin(), state.prompt.end()},
              .generated = static_cast<uint32_t>(state.generated.size())};
  opened.seen.insert(opened.seen.end(), state.generated.begin(), state.generated.end());
  EXPECT_TRUE(slots_.emplace(slot, std::move(opened)).second)
      << "slot " << slot << " is open already";
  absl::MutexLock lock(&mu_);
  open_slots_ = static_cast<int>(slots_.size());
}

void FakeModel::Close(SlotId slot) {
  EXPECT_EQ(slots_.erase(slot), 1u) << "slot " << slot << " is not open";
  absl::MutexLock lock(&mu_);
  open_slots_ = static_cast<int>(slots_.size());
}

absl::StatusOr<StepOutput> FakeModel::Step(const StepInput& input) {
  if (absl::Status status = PassGate(); !status.ok()) return status;
  ++step_;
  for (const BlockCopy& copy : input.copies) {
    const int32_t size = options_.capacity.block_tokens;
    std::copy_n(cells_.begin() + copy.from * size, size, cells_.begin() + copy.to * size);
  }
  CheckChunks(input);
  std::vector<std::vector<TokenId>> histories;
  for (const Chunk& chunk : input.chunks) histories.push_back(ReadHistory(chunk));
  for (const Chunk& chunk : input.chunks) Write(chunk);
  if (options_.at_step) TellStep(input, histories);
  PickExperts(input);

  scores_.clear();
  alternatives_.clear();
  rows_.clear();
  for (const OutputRow& row : input.rows) {
    const Chunk& chunk = input.chunks[row.chunk];
    EXPECT_TRUE(row.row >= 0 && row.row < static_cast<int32_t>(chunk.tokens.size()));
    std::vector<TokenId> history = histories[row.chunk];
    history.insert(history.end(), chunk.tokens.begin(), chunk.tokens.begin() + row.row + 1);
    Answer(row, history, slots_[chunk.slot]);
  }
  for (size_t i = 0; i < input.rows.size(); ++i) rows_.push_back({scores_[i], alternatives_[i]});

  ReportHidden(input, histories);

  absl::MutexLock lock(&mu_);
  chunk_status_.assign(input.chunks.size(), absl::OkStatus());
  last_chunks_.clear();
  hidden_rows_ += static_cast<int64_t>(input.hidden_rows.size());
  for (size_t i = 0; i < input.chunks.size(); ++i) {
    const Chunk& chunk = input.chunks[i];
    computed_tokens_ += static_cast<int64_t>(chunk.tokens.size());
    last_chunks_.push_back(
        {chunk.slot, chunk.first_position, {chunk.tokens.begin(), chunk.tokens.end()}});
    for (TokenId token : chunk.tokens) {
      if (poisoned_.count(token) > 0) chunk_status_[i] = absl::InternalError("NaN in the logits");
    }
  }
  for (size_t i = 0; i < input.rows.size(); ++i) {
    if (!chunk_status_[input.rows[i].chunk].ok()) rows_[i] = {};
  }
  ++answered_;
  return StepOutput{
      .rows = rows_, .chunk_status = chunk_status_, .picks = picks_, .hidden = hidden_};
}

void FakeModel::ReportHidden(const StepInput& input,
                             absl::Span<const std::vector<TokenId>> histories) {
  hidden_values_.clear();
  for (const HiddenRow& row : input.hidden_rows) {
    const absl::Span<const TokenId> tokens = input.chunks[row.chunk].tokens;
    EXPECT_TRUE(row.row >= 0 && row.row < static_cast<int32_t>(tokens.size()));
    EXPECT_TRUE(row.layer >= 0 && row.layer <= static_cast<int32_t>(description_.num_layers) + 1);
    std::vector<TokenId> history = histories[row.chunk];
    history.insert(history.end(), tokens.begin(), tokens.begin() + row.row + 1);
    hidden_values_.push_back(HiddenState(history, row.layer));
  }
  hidden_.assign(hidden_values_.begin(), hidden_values_.end());
}

void FakeModel::TellStep(const StepInput& input, std::vector<std::vector<TokenId>> sequences) {
  for (size_t i = 0; i < input.chunks.size(); ++i) {
    const absl::Span<const TokenId> tokens = input.chunks[i].tokens;
    sequences[i].insert(sequences[i].end(), tokens.begin(), tokens.end());
  }
  options_.at_step(sequences);
}

void FakeModel::CheckChunks(const StepInput& input) {
  size_t tokens = 0;
  std::set<SlotId> slots;
  for (const Chunk& chunk : input.chunks) {
    tokens += chunk.tokens.size();
    EXPECT_FALSE(chunk.tokens.empty()) << "an empty chunk";
    EXPECT_TRUE(slots.insert(chunk.slot).second) << "two chunks of slot " << chunk.slot;
    EXPECT_EQ(slots_.count(chunk.slot), 1u) << "a chunk of the closed slot " << chunk.slot;
    EXPECT_GE(chunk.blocks.size() * options_.capacity.block_tokens,
              chunk.first_position + chunk.tokens.size())
        << "the blocks of slot " << chunk.slot << " end too early";
  }
  EXPECT_LE(tokens, static_cast<size_t>(options_.capacity.max_step_tokens)) << "too many tokens";
}

FakeModel::Cell& FakeModel::CellAt(const Chunk& chunk, int32_t position) {
  const int32_t size = options_.capacity.block_tokens;
  return cells_[chunk.blocks[position / size] * size + position % size];
}

std::vector<TokenId> FakeModel::ReadHistory(const Chunk& chunk) {
  std::vector<TokenId> history;
  for (int32_t position = 0; position < chunk.first_position; ++position) {
    const Cell& cell = CellAt(chunk, position);
    EXPECT_EQ(cell.position, position)
        << "slot " << chunk.slot << " expects position " << position << " in block "
        << chunk.blocks[position / options_.capacity.block_tokens] << " (step " << step_ << ")";
    history.push_back(cell.token);
  }
  return history;
}

void FakeModel::Write(const Chunk& chunk) {
  for (size_t i = 0; i < chunk.tokens.size(); ++i) {
    const int32_t position = chunk.first_position + static_cast<int32_t>(i);
    Cell& cell = CellAt(chunk, position);
    EXPECT_NE(cell.step, step_) << "two sequences write to one block in one step";
    cell = {.token = chunk.tokens[i], .position = position, .step = step_};
  }
}

void FakeModel::Force(const TokenControl& control, Picks& picks) {
  if (!control.ids.empty()) picks.ids.assign(control.ids.begin(), control.ids.end());
  if (!control.weights.empty()) {
    picks.weights.assign(control.weights.begin(), control.weights.end());
  }
}

void FakeModel::PickExperts(const StepInput& input) {
  const std::vector<ExpertLayer>& layers = options_.expert_layers;
  layer_picks_.assign(layers.size(), {});
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    std::set<uint32_t> different;
    for (const Chunk& chunk : input.chunks) {
      for (size_t i = 0; i < chunk.tokens.size(); ++i) {
        Picks picks = PicksOf(layers[layer], chunk.tokens[i], chunk.first_position + i);
        if (chunk.control != nullptr) {
          Force(chunk.control->Of(layer, chunk.control_token + static_cast<int64_t>(i)), picks);
        }
        Count(layer, picks);
        different.insert(picks.ids.begin(), picks.ids.end());
        // Not to be looked at.
        if (!chunk.trace) picks.ids.assign(picks.ids.size(), UINT32_MAX);
        AppendTo(picks.ids, layer_picks_[layer].ids);
        AppendTo(picks.weights, layer_picks_[layer].weights);
      }
    }
    totals_[layer].step_distinct += different.size();
    totals_[layer].bytes_read += different.size() * kRecordBytes;
  }
  picks_.clear();
  for (const Picks& picks : layer_picks_) picks_.push_back({picks.ids, picks.weights});
}

void FakeModel::Count(size_t layer, const Picks& picks) {
  const ExpertLayer& shape = options_.expert_layers[layer];
  UsageTotals& totals = totals_[layer];
  const bool sample = totals.tokens++ % kTokensPerSample == 0;
  if (sample) {
    totals.kept_mass.Add(0.25f);
    totals.router_entropy.Add(0.75f);
  }
  for (size_t pick = 0; pick < picks.ids.size(); ++pick) {
    if (picks.ids[pick] == kNoExpert) continue;
    ExpertCount& count = counts_[layer][picks.ids[pick]];
    const uint64_t score = ExpertScore(picks.weights[pick]);
    ++count.selections;
    count.score += score;
    totals.squared_scores += absl::uint128(score) * score;
    const uint32_t n = shape.num_sub_keys;
    if (!sample || n == 0) continue;
    const uint32_t expert = picks.ids[pick] % (shape.num_experts / shape.expert_sets);
    uint64_t* rows = sub_keys_[layer].data() + pick / shape.top_k * 2 * n;
    ++rows[expert / n];
    ++rows[n + expert % n];
  }
}

UsageTotals FakeModel::ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) {
  std::copy_n(counts_[expert_layer].begin(), counts.size(), counts.begin());
  return totals_[expert_layer];
}

void FakeModel::ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) {
  std::copy_n(sub_keys_[expert_layer].begin(), counts.size(), counts.begin());
}

void FakeModel::ClearUsage() {
  totals_.assign(totals_.size(), {});
  for (std::vector<ExpertCount>& counts : counts_) counts.assign(counts.size(), {});
  for (std::vector<uint64_t>& counts : sub_keys_) counts.assign(counts.size(), 0);
}

void FakeModel::Answer(const OutputRow& row, absl::Span<const TokenId> history, Slot& slot) {
  std::vector<TokenId> targets(row.targets.begin(), row.targets.end());
  if (row.sample) {
    EXPECT_TRUE(targets.empty());
    EXPECT_EQ(history, absl::MakeSpan(std::as_const(slot.seen)))
        << "the slot has not seen the sequence that it samples for";
    targets = {NextToken(history, slot.sampling, slot.candidate, slot.generated,
                         options_.vocabulary_size)};
    slot.seen.push_back(targets[0]);
    ++slot.generated;
  }
  scores_.emplace_back();
  for (TokenId token : targets) {
    scores_.back().push_back({token, Logprob(history, token), Rank(history, token)});
  }
  alternatives_.push_back(Alternatives(history, row.alternatives));
}

absl::Status FakeModel::PassGate() {
  absl::MutexLock lock(&mu_);
  at_gate_ = true;
  const auto may_pass = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !gate_shut_ || passes_ > 0;
  };
  mu_.Await(absl::Condition(&may_pass));
  at_gate_ = false;
  if (gate_shut_) --passes_;
  if (std::exchange(next_throws_, false)) throw std::bad_alloc();
  if (!next_failure_) return absl::OkStatus();
  ++answered_;
  return *std::exchange(next_failure_, std::nullopt);
}

void FakeModel::ShutGate() {
  absl::MutexLock lock(&mu_);
  gate_shut_ = true;
}

void FakeModel::OpenGate() {
  absl::MutexLock lock(&mu_);
  gate_shut_ = false;
  passes_ = 0;
}

void FakeModel::AwaitStep() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&at_gate_));
}

void FakeModel::LetStepThrough() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&at_gate_));
  ++passes_;
  const int64_t expected = answered_ + 1;
  const auto has_answered = [this, expected]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return answered_ >= expected;
  };
  mu_.Await(absl::Condition(&has_answered));
}

void FakeModel::FailNextStep(absl::Status status) {
  absl::MutexLock lock(&mu_);
  next_failure_ = std::move(status);
}

void FakeModel::ThrowInNextStep() {
  absl::MutexLock lock(&mu_);
  next_throws_ = true;
}

void FakeModel::PoisonToken(TokenId token) {
  absl::MutexLock lock(&mu_);
  poisoned_.insert(token);
}

int FakeModel::num_open_slots() const {
  absl::MutexLock lock(&mu_);
  return open_slots_;
}

int64_t FakeModel::num_computed_tokens() const {
  absl::MutexLock lock(&mu_);
  return computed_tokens_;
}

int64_t FakeModel::num_hidden_rows() const {
  absl::MutexLock lock(&mu_);
  return hidden_rows_;
}

std::vector<FakeModel::SeenChunk> FakeModel::last_chunks() const {
  absl::MutexLock lock(&mu_);
  return last_chunks_;
}

}  // namespace peerage
