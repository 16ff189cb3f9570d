#include "model/nn/cuda/step_arrays.h"

#include <algorithm>

namespace peerage::nn::cuda {

using kernels::cuda::AttentionItem;
using kernels::cuda::kAttentionItemTokens;
using kernels::cuda::RowRequest;

StepShape ShapeOf(const StepBatch& batch, OutputRows& rows) {
  StepShape shape{.tokens = batch.size(),
                  .rows = rows.size(),
                  .sequences = static_cast<int>(batch.chunks().size())};
  for (const Chunk& chunk : batch.chunks()) {
    const int tokens = static_cast<int>(chunk.tokens.size());
    if (tokens == 1 && shape.decodes == shape.items) ++shape.decodes;
    shape.items += (tokens + kAttentionItemTokens - 1) / kAttentionItemTokens;
    shape.max_blocks = std::max(shape.max_blocks, static_cast<int>(chunk.blocks.size()));
  }
  for (int row = 0; row < rows.size(); ++row) {
    shape.scores += static_cast<int>(rows.scores(row).size());
    shape.alternatives += static_cast<int>(rows.alternatives(row).size());
  }
  return shape;
}

void StepArrays::Lay(const StepShape& shape, Arena& arena) {
  tokens = arena.TakeArray<int32_t>(shape.tokens);
  positions = arena.TakeArray<int32_t>(shape.tokens);
  blocks = arena.TakeArray<int32_t>(shape.tokens);
  items = arena.TakeArray<AttentionItem>(shape.items);
  row_tokens = arena.TakeArray<int32_t>(shape.rows);
  requests = arena.TakeArray<RowRequest>(shape.rows);
  targets = arena.TakeArray<uint32_t>(shape.scores);
  block_table = arena.TakeArray<int32_t>(size_t(shape.sequences) * shape.max_blocks);
}

void StepArrays::Fill(const StepShape& shape, const StepBatch& batch, absl::Span<Slot> slots,
                      OutputRows& rows, Lists& lists) const {
  FillTokens(shape, batch);
  FillItems(shape, batch);
  lists.Clear();
  int score = 0, alternative = 0;
  for (int row = 0; row < shape.rows; ++row) {
    RowRequest& request = requests[row] = {};
    row_tokens[row] = row < rows.size() ? rows.token(row) : -1;
    if (row >= rows.size()) continue;
    const OutputRow& wanted = rows.wanted(row);
    request.token_row = row_tokens[row];
    request.sample = wanted.sample;
    request.first_score = score;
    request.scores = static_cast<int32_t>(rows.scores(row).size());
    request.first_alternative = alternative;
    // An empty list of alternatives may still want the token's own log-probability.
    request.alternatives =
        wanted.alternatives < 0 ? -1 : static_cast<int32_t>(rows.alternatives(row).size());
    if (!wanted.sample) {
      std::copy(wanted.targets.begin(), wanted.targets.end(), targets + score);
    }
    score += request.scores;
    alternative += static_cast<int>(rows.alternatives(row).size());
    if (wanted.sample) lists.Ask(slots[rows.slot(row)], request);
  }
}

void StepArrays::FillTokens(const StepShape& shape, const StepBatch& batch) const {
  for (int t = 0; t < shape.tokens; ++t) {
    const bool is_padding = t >= batch.size();
    const StepBatch::Token token = is_padding ? StepBatch::Token{} : batch.tokens()[t];
    tokens[t] = is_padding ? -1 : static_cast<int32_t>(token.id);
    positions[t] = is_padding ? -1 : token.position;
    blocks[t] = token.block;
  }
  int32_t* row = block_table;
  for (const Chunk& chunk : batch.chunks()) {
    std::copy(chunk.blocks.begin(), chunk.blocks.end(), row);
    row += shape.max_blocks;
  }
}

void StepArrays::FillItems(const StepShape& shape, const StepBatch& batch) const {
  AttentionItem* item = items;
  for (int c = 0; c < static_cast<int>(batch.chunks().size()); ++c) {
    const Chunk& chunk = batch.chunks()[c];
    const int count = static_cast<int>(chunk.tokens.size());
    for (int first = 0; first < count; first += kAttentionItemTokens) {
      *item++ = {.token = batch.first_token(c) + first,
                 .tokens = std::min(kAttentionItemTokens, count - first),
                 .position = chunk.first_position + first,
                 .sequence = c};
    }
  }
  std::fill(item, items + shape.items, AttentionItem{});
}

void StepArrays::Lists::Clear() {
  biases.clear();
  seen.clear();
  masked.clear();
}

void StepArrays::Lists::Ask(const Slot& slot, RowRequest& request) {
  const SamplingParams& sampling = slot.sampling();
  request.temperature = sampling.temperature;
  request.top_k = sampling.top_k;
  request.top_p = sampling.top_p;
  request.min_p = sampling.min_p;
  request.random = slot.Random();
  request.repetition_penalty = sampling.repetition_penalty;
  request.frequency_penalty = sampling.frequency_penalty;
  request.presence_penalty = sampling.presence_penalty;
  request.first_bias = static_cast<int32_t>(biases.size());
  for (const auto& [token, bias] : sampling.logit_bias) biases.push_back({token, bias});
  request.biases = static_cast<int32_t>(biases.size()) - request.first_bias;
  request.first_seen = static_cast<int32_t>(seen.size());
  for (const auto& [token, count] : slot.seen()) seen.push_back({token, count});
  request.seen = static_cast<int32_t>(seen.size()) - request.first_seen;
  request.first_masked = static_cast<int32_t>(masked.size());
  if (slot.must_mask()) {
    masked.insert(masked.end(), sampling.masked_ids.begin(), sampling.masked_ids.end());
  }
  request.masked = static_cast<int32_t>(masked.size()) - request.first_masked;
}

void ResultArrays::Lay(const StepShape& shape, Arena& arena) {
  failed = arena.TakeArray<int32_t>(shape.rows);
  scores = arena.TakeArray<kernels::cuda::DeviceScore>(shape.scores);
  alternatives = arena.TakeArray<kernels::cuda::DeviceAlternative>(shape.alternatives);
}

void ResultArrays::Report(absl::Span<Slot> slots, OutputRows& rows) const {
  const kernels::cuda::DeviceScore* score = scores;
  const kernels::cuda::DeviceAlternative* alternative = alternatives;
  for (int row = 0; row < rows.size(); ++row) {
    for (TokenScore& to : rows.scores(row)) {
      to = {score->token, score->logprob, score->rank};
      ++score;
    }
    for (TokenAlternative& to : rows.alternatives(row)) {
      to = {alternative->token, alternative->logprob};
      ++alternative;
    }
    if (failed[row] != 0) {
      rows.Fail(row);
    } else if (rows.wanted(row).sample) {
      slots[rows.slot(row)].Remember(rows.scores(row).front().token);
    }
  }
}

}  // namespace peerage::nn::cuda
