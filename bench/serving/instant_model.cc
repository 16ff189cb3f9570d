#include "bench/serving/instant_model.h"

namespace peerage {
namespace {

constexpr TokenId kLetters = 26;  // of tests/support/fake_tokenizer.h, from 1 on

}  // namespace

InstantModel::InstantModel(const ModelCapacity& capacity, uint32_t vocabulary_size,
                           uint32_t context_length)
    : capacity_(capacity) {
  description_.architecture = "instant";
  description_.fingerprint = "1a57a27";
  description_.vocabulary_size = vocabulary_size;
  description_.context_length = context_length;
  description_.num_layers = 1;
  description_.device = "cpu";
}

absl::StatusOr<StepOutput> InstantModel::Step(const StepInput& input) {
  scores_.clear();
  rows_.clear();
  for (const OutputRow& row : input.rows) {
    const TokenId position = input.chunks[row.chunk].first_position + row.row;
    if (row.sample) scores_.push_back({.token = 1 + position % kLetters, .logprob = -1, .rank = 1});
    for (const TokenId target : row.targets) {
      scores_.push_back({.token = target, .logprob = -2, .rank = 2});
    }
  }
  const TokenScore* next = scores_.data();
  for (const OutputRow& row : input.rows) {
    const size_t count = row.sample ? 1 : row.targets.size();
    rows_.push_back({.tokens = {next, count}});
    next += count;
  }
  chunk_status_.assign(input.chunks.size(), absl::OkStatus());
  return StepOutput{.rows = rows_, .chunk_status = chunk_status_};
}

}  // namespace peerage
