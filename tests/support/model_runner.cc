#include "tests/support/model_runner.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <utility>

namespace peerage {
namespace {

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << std::endl;
    std::abort();
  }
  return *std::move(value);
}

}  // namespace

std::unique_ptr<LanguageModel> LoadOrDie(const std::string& path, const RunnerOptions& options) {
  const auto checkpoint = ValueOrDie(OpenCheckpoint(path));
  return ValueOrDie(nn::LoadModel(*checkpoint, {.device = options.device,
                                                .weights_dtype = options.weights_dtype,
                                                .expert_dtype = options.expert_dtype,
                                                .activation_dtype = nn::ActivationDtype::kF32,
                                                .kv_dtype = nn::KvDtype::kF32,
                                                .threads = options.threads,
                                                .num_slots = options.num_slots,
                                                .kv_cache_bytes = options.kv_cache_bytes}));
}

SequenceRunner::SequenceRunner(LanguageModel& model, SlotId slot, BlockId first_block)
    : model_(model), slot_(slot) {
  const ModelCapacity& capacity = model.capacity();
  const int context = static_cast<int>(model.description().context_length);
  blocks_.resize(std::min((context + capacity.block_tokens - 1) / capacity.block_tokens,
                          capacity.num_blocks - first_block));
  std::iota(blocks_.begin(), blocks_.end(), first_block);
  model.Open(slot, {.sampling = {.temperature = 0}});
}

SequenceRunner::~SequenceRunner() { model_.Close(slot_); }

std::vector<float> SequenceRunner::Score(const std::vector<TokenId>& tokens, int chunk) {
  std::vector<float> logprobs;
  const int count = static_cast<int>(tokens.size()) - 1;  // the last token is only a target
  for (int at = 0; at < count; at += chunk) {
    const int size = std::min(chunk, count - at);
    const Chunk piece{.slot = slot_,
                      .tokens = absl::MakeConstSpan(tokens).subspan(at, size),
                      .first_position = at,
                      .blocks = blocks_};
    std::vector<OutputRow> rows;
    for (int i = 0; i < size; ++i) {
      rows.push_back({.chunk = 0, .row = i, .targets = {&tokens[at + i + 1], 1}});
    }
    const StepOutput output = ValueOrDie(model_.Step({.chunks = {&piece, 1}, .rows = rows}));
    for (const RowOutput& row : output.rows) logprobs.push_back(row.tokens[0].logprob);
  }
  return logprobs;
}

std::vector<TokenId> SequenceRunner::Greedy(const std::vector<TokenId>& prompt, int count) {
  std::vector<TokenId> generated;
  std::vector<TokenId> input = prompt;
  int position = 0;
  for (int i = 0; i < count; ++i) {
    const Chunk chunk{
        .slot = slot_, .tokens = input, .first_position = position, .blocks = blocks_};
    const OutputRow row{.chunk = 0, .row = static_cast<int>(input.size()) - 1, .sample = true};
    const StepOutput output = ValueOrDie(model_.Step({.chunks = {&chunk, 1}, .rows = {&row, 1}}));
    position += static_cast<int>(input.size());
    input = {output.rows[0].tokens[0].token};
    generated.push_back(input[0]);
  }
  return generated;
}

std::vector<PickedExperts> SequenceRunner::Picks(const std::vector<TokenId>& tokens) {
  const Chunk chunk{.slot = slot_, .tokens = tokens, .blocks = blocks_, .trace = true};
  const StepOutput output = ValueOrDie(model_.Step({.chunks = {&chunk, 1}}));
  std::vector<PickedExperts> layers;
  for (const ExpertPicks& picks : output.picks) {
    layers.push_back(
        {{picks.ids.begin(), picks.ids.end()}, {picks.weights.begin(), picks.weights.end()}});
  }
  return layers;
}

}  // namespace peerage
