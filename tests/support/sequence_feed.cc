#include "tests/support/sequence_feed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

// One step's chunks, rows to score, and which sequence each row belongs to.
struct FeedStep {
  std::vector<Chunk> chunks;
  std::vector<OutputRow> rows;
  std::vector<size_t> owners;
};

FeedStep StepAt(const std::vector<FedSequence>& sequences, size_t at, size_t chunk) {
  FeedStep step;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const FedSequence& sequence = sequences[s];
    if (at + 1 >= sequence.tokens.size()) continue;
    const size_t count = std::min(chunk, sequence.tokens.size() - 1 - at);
    for (size_t i = 0; i < count; ++i) {
      step.rows.push_back({.chunk = static_cast<int>(step.chunks.size()),
                           .row = static_cast<int>(i),
                           .targets = {&sequence.tokens[at + i + 1], 1},
                           .alternatives = 0});
      step.owners.push_back(s);
    }
    step.chunks.push_back({.slot = static_cast<SlotId>(s),
                           .tokens = absl::MakeConstSpan(sequence.tokens).subspan(at, count),
                           .first_position = static_cast<int>(at),
                           .blocks = sequence.blocks,
                           .trace = true,
                           .control = sequence.control,
                           .control_token = static_cast<int64_t>(at)});
  }
  return step;
}

template <typename T>
void Append(absl::Span<const T> values, std::vector<T>& all) {
  all.insert(all.end(), values.begin(), values.end());
}

void ExpectSubKeysAreWhatTracesSay(LanguageModel& model, int expert_layer,
                                   const std::vector<uint32_t>& ids) {
  const ExpertLayer& layer = model.description().expert_layers[expert_layer];
  const uint32_t n = layer.num_sub_keys;
  std::vector<uint64_t> expected(size_t{2} * layer.heads * n), counts(expected.size());
  for (size_t i = 0; n > 0 && i < ids.size(); ++i) {
    if (ids[i] == kNoExpert) continue;
    const size_t token = i / layer.picks_per_token(), head = i / layer.top_k % layer.heads;
    if (token % kTokensPerSample != 0) continue;
    const uint32_t expert = ids[i] % (layer.num_experts / layer.expert_sets);
    ++expected[2 * head * n + expert / n];
    ++expected[(2 * head + 1) * n + expert % n];
  }
  model.ReadSubKeys(expert_layer, absl::MakeSpan(counts));
  EXPECT_EQ(counts, expected) << "expert layer " << expert_layer;
}

}  // namespace

std::vector<TokenId> Prompt(int count, int stride) {
  std::vector<TokenId> tokens(count);
  for (int i = 0; i < count; ++i) tokens[i] = (7 + i * stride) % 60;
  return tokens;
}

std::unique_ptr<LanguageModel> LoadSmall(const Checkpoint& checkpoint, nn::LoadOptions options) {
  options.num_slots = 8;
  options.kv_cache_bytes = 1 << 20;
  auto model = nn::LoadModel(checkpoint, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

FeedResult Feed(LanguageModel& model, const std::vector<FedSequence>& sequences, size_t chunk) {
  const size_t layers = model.description().expert_layers.size();
  FeedResult result;
  result.logprobs.resize(sequences.size());
  result.status.resize(sequences.size());
  result.ids.resize(layers);
  result.weights.resize(layers);
  for (size_t at = 0;; at += chunk) {
    const FeedStep step = StepAt(sequences, at, chunk);
    if (step.chunks.empty()) return result;
    const auto output = model.Step({.chunks = step.chunks, .rows = step.rows});
    EXPECT_TRUE(output.ok()) << output.status();
    for (size_t i = 0; i < step.rows.size(); ++i) {
      result.logprobs[step.owners[i]].push_back(output->rows[i].tokens[0].logprob);
    }
    for (size_t c = 0; c < step.chunks.size(); ++c) {
      result.status[step.chunks[c].slot].Update(output->chunk_status[c]);
    }
    for (size_t l = 0; l < output->picks.size(); ++l) {
      Append(output->picks[l].ids, result.ids[l]);
      Append(output->picks[l].weights, result.weights[l]);
    }
  }
}

FedHiddenStates FeedForHidden(LanguageModel& model, const std::vector<FedSequence>& sequences,
                              const std::vector<int32_t>& layers, size_t chunk) {
  FedHiddenStates states(sequences.size());
  for (size_t at = 0;; at += chunk) {
    const FeedStep step = StepAt(sequences, at, chunk);
    if (step.chunks.empty()) return states;
    // Layer by layer: the order is the caller's.
    std::vector<HiddenRow> rows;
    for (const int32_t layer : layers) {
      for (const OutputRow& row : step.rows) rows.push_back({row.chunk, row.row, layer});
    }
    const auto output = model.Step({.chunks = step.chunks, .hidden_rows = rows});
    EXPECT_TRUE(output.ok()) << output.status();
    for (size_t i = 0; i < step.rows.size(); ++i) {
      std::vector<float>& row = states[step.owners[i]].emplace_back();
      for (size_t l = 0; l < layers.size(); ++l) {
        Append(output->hidden[l * step.rows.size() + i], row);
      }
    }
  }
}

void ExpectUsageIsWhatTracesSay(LanguageModel& model, const FeedResult& fed) {
  size_t tokens = 0;
  for (const auto& logprobs : fed.logprobs) tokens += logprobs.size();
  const std::vector<ExpertLayer>& layers = model.description().expert_layers;
  for (size_t l = 0; l < layers.size(); ++l) {
    ASSERT_EQ(fed.ids[l].size(), tokens * layers[l].picks_per_token());
    std::map<uint32_t, ExpertCount> expected;
    absl::uint128 squared_scores = 0;
    for (size_t i = 0; i < fed.ids[l].size(); ++i) {
      if (fed.ids[l][i] == kNoExpert) continue;
      ExpertCount& count = expected[fed.ids[l][i]];
      ++count.selections;
      const uint64_t score = ExpertScore(fed.weights[l][i]);
      count.score += score;
      squared_scores += absl::uint128(score) * score;
    }
    std::vector<ExpertCount> counts(layers[l].num_experts);
    const UsageTotals totals = model.ReadUsage(static_cast<int>(l), absl::MakeSpan(counts));
    EXPECT_EQ(totals.tokens, tokens);
    EXPECT_EQ(totals.squared_scores, squared_scores);
    // Steps of any size have at most as many different experts as picks, and at least one.
    EXPECT_LE(totals.step_distinct, fed.ids[l].size());
    EXPECT_GE(totals.step_distinct, expected.size());
    const uint64_t samples = (tokens + kTokensPerSample - 1) / kTokensPerSample;
    const auto& entropies = totals.router_entropy.counts;
    EXPECT_LE(std::accumulate(entropies.begin(), entropies.end(), uint64_t{0}), samples);
    ExpectSubKeysAreWhatTracesSay(model, static_cast<int>(l), fed.ids[l]);
    for (uint32_t id = 0; id < layers[l].num_experts; ++id) {
      ASSERT_EQ(counts[id].selections, expected[id].selections) << l << ", " << id;
      ASSERT_EQ(counts[id].score, expected[id].score) << l << ", " << id;
    }
  }
}

}  // namespace peerage
