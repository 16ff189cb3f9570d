#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/little_endian.h"
#include "server/engine/task.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::IsEmpty;

// Of the tokens of a sequence at these positions: right values, in their order.
void ExpectHidden(const std::optional<HiddenStates>& states, const std::vector<uint32_t>& layers,
                  const std::vector<TokenId>& sequence, const std::vector<uint32_t>& positions) {
  ASSERT_EQ(states.has_value(), !positions.empty());
  if (positions.empty()) return;
  EXPECT_EQ(states->positions, positions);
  ASSERT_EQ(states->layers.size(), layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    std::string expected;
    for (const uint32_t position : positions) {
      AppendLittleEndian(FakeModel::HiddenState(absl::MakeConstSpan(sequence).first(position + 1),
                                                static_cast<int32_t>(layers[i])),
                         expected);
    }
    EXPECT_EQ(states->layers[i], expected) << "layer " << layers[i];
  }
}

std::optional<HiddenStates> Find(const RecordingSink::Record& record,
                                 std::optional<uint32_t> part) {
  const auto found = record.hidden.find(part);
  if (found == record.hidden.end()) return std::nullopt;
  return found->second;
}

// What a choice has of the positions from `first` to before `end`.
std::vector<uint32_t> Chosen(const HiddenStatesChoice& choice, size_t first, size_t end) {
  const std::set<uint32_t> named(choice.positions.begin(), choice.positions.end());
  std::vector<uint32_t> chosen;
  for (uint32_t p = first; p < end; ++p) {
    if (p < choice.all_before || p >= choice.all_from || named.count(p) > 0) chosen.push_back(p);
  }
  return chosen;
}

// Of prompts and contexts of 7 tokens.
std::vector<HiddenStatesChoice> Choices() {
  return {{.layers = {1}, .positions = {0, 3, 6, 7, 9}},
          {.layers = {0, 2}, .all_before = 7},
          {.layers = {2}, .all_from = 7},
          {.layers = {0, 1, 2}, .positions = {1, 6, 8}, .all_from = 7},
          {.layers = {0, 1, 2}, .all_before = 7, .all_from = 7}};
}

TEST(HiddenStatesChoiceTest, CountsWhatItHas) {
  std::vector<HiddenStatesChoice> choices = Choices();
  choices.push_back({.layers = {0}});
  choices.push_back({.layers = {0}, .positions = {2, 5}, .all_before = 4, .all_from = 4});
  for (const HiddenStatesChoice& choice : choices) {
    for (uint32_t first = 0; first < 12; ++first) {
      EXPECT_EQ(choice.Has(first), !Chosen(choice, first, first + 1).empty());
      for (uint32_t end = 0; end < 12; ++end) {
        EXPECT_EQ(choice.Count(first, end), Chosen(choice, first, end).size());
      }
    }
    const std::vector<uint32_t> all = Chosen(choice, 0, 100);
    EXPECT_EQ(choice.First(), all.empty() ? INT32_MAX : static_cast<int32_t>(all.front()));
  }
}

// What cached keys and values cannot answer is computed.
TEST(HiddenStatesChoiceTest, WorkSaysFromWhereOnItIsNeeded) {
  GenerateRequest generate{.prompt = {1, 2, 3, 4}};
  ScoreRequest score{.context = {1, 2, 3, 4}, .continuations = {{5, 6}}};
  EXPECT_EQ(WorkOf(generate).first_needed_position, INT32_MAX);
  EXPECT_EQ(WorkOf(score).first_needed_position, INT32_MAX);
  generate.hidden_states = score.hidden_states = {.layers = {1}, .positions = {2, 3}};
  EXPECT_EQ(WorkOf(generate).first_needed_position, 2);
  EXPECT_EQ(WorkOf(score).first_needed_position, 2);
}

// Of every candidate of a generation, and of its prompt.
void ExpectAllHidden(const GenerateRequest& request, RecordingSink::Record record) {
  const HiddenStatesChoice& choice = request.hidden_states;
  const auto end = static_cast<uint32_t>(request.prompt.size());
  ExpectHidden(Find(record, std::nullopt), choice.layers, request.prompt, Chosen(choice, 0, end));
  for (uint32_t i = 0; i < request.candidates; ++i) {
    std::vector<TokenId> sequence = request.prompt;
    const std::vector<TokenId>& generated = record.candidates[i].tokens;
    sequence.insert(sequence.end(), generated.begin(), generated.end());
    ExpectHidden(Find(record, i), choice.layers, sequence,
                 Chosen(choice, end, end + request.stopping.max_tokens - 1));
  }
}

void ExpectAllHidden(const ScoreRequest& request, const RecordingSink::Record& record) {
  const HiddenStatesChoice& choice = request.hidden_states;
  const auto end = static_cast<uint32_t>(request.context.size());
  ExpectHidden(Find(record, std::nullopt), choice.layers, request.context, Chosen(choice, 0, end));
  for (uint32_t i = 0; i < request.continuations.size(); ++i) {
    std::vector<TokenId> sequence = request.context;
    const std::vector<TokenId>& continuation = request.continuations[i];
    sequence.insert(sequence.end(), continuation.begin(), continuation.end());
    ExpectHidden(Find(record, i), choice.layers, sequence,
                 Chosen(choice, end, sequence.size() - 1));
  }
}

// Another request is in every batch, and asks for others.
TEST_F(EngineTest, HiddenStatesOfAGenerationAreItsTokensWhateverTheChunks) {
  for (const int32_t budget : {1, 3, 64}) {
    for (const uint32_t candidates : {1, 3}) {
      for (const uint32_t max_tokens : {1, 4}) {
        for (const HiddenStatesChoice& choice : Choices()) {
          Start({.max_batch_tokens = budget});
          GenerateRequest request = Generate({5, 4, 3, 2, 1, 6, 7}, max_tokens);
          request.hidden_states = choice;
          request.candidates = candidates;
          GenerateRequest neighbour = Generate({9, 8, 7}, 5);
          neighbour.hidden_states = {.layers = {0, 1}, .positions = {1}};
          model_->ShutGate();
          const Call other = Submit(neighbour);
          const Call call = Submit(request);
          model_->OpenGate();
          ExpectReference(request, *call.sink);
          ExpectReference(neighbour, *other.sink);

          ExpectAllHidden(request, call.sink->record());
          ExpectHidden(Find(other.sink->record(), std::nullopt), {0, 1}, neighbour.prompt, {1});
        }
      }
    }
  }
}

TEST_F(EngineTest, HiddenStatesOfAScoreAreItsTokensWhateverTheChunks) {
  for (const int32_t budget : {1, 3, 64}) {
    for (const std::vector<TokenId>& context : {std::vector<TokenId>{5, 4, 3, 2, 1, 6, 7}, {}}) {
      for (HiddenStatesChoice choice : Choices()) {
        if (choice.all_before > 0) choice.all_before = context.size();
        Start({.max_batch_tokens = budget});
        ScoreRequest request{.context = context,
                             .continuations = {{1, 2, 3, 4, 5, 6, 7, 8}, {9}, {1, 2, 4}}};
        request.hidden_states = choice;
        const Call call = Submit(request);
        ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
        ExpectAllHidden(request, call.sink->record());
      }
    }
  }
}

// The broken stream had not answered them: they come with the end.
TEST_F(EngineTest, AResumedGenerationHasAllItsHiddenStates) {
  Start();
  GenerateRequest request = Generate({5, 4, 3}, 6);
  request.hidden_states = {.layers = {1}, .all_before = 3, .all_from = 3};
  const Call whole = Submit(request);
  ASSERT_EQ(whole.sink->WaitDone(), absl::OkStatus());
  RecordingSink::Record expected = whole.sink->record();
  ASSERT_EQ(expected.hidden.at(0).positions.size(), 5u);

  request.generated.assign(expected.candidates[0].tokens.begin(),
                           expected.candidates[0].tokens.begin() + 4);
  const Call resumed = Submit(request);
  ASSERT_EQ(resumed.sink->WaitDone(), absl::OkStatus());
  for (const std::optional<uint32_t> part : {std::optional<uint32_t>(), {0u}}) {
    const auto actual = Find(resumed.sink->record(), part);
    ASSERT_TRUE(actual);
    EXPECT_EQ(actual->positions, expected.hidden.at(part).positions);
    EXPECT_EQ(actual->layers, expected.hidden.at(part).layers);
  }
}

// Blocks of 4 hold the prompt. Keys and values of what is before the first wanted one are enough.
TEST_F(EngineTest, HiddenStatesThatTheCacheCannotAnswerAreComputed) {
  const std::vector<TokenId> prompt = {5, 4, 3, 2, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const std::vector<std::pair<HiddenStatesChoice, uint32_t>> cases = {
      {{.layers = {0, 2}, .positions = {0}}, 0},
      {{.layers = {1}, .positions = {3, 14}}, 0},
      {{.layers = {1}, .positions = {4}}, 4},
      {{.layers = {1}, .positions = {7, 20}}, 4},
      {{.layers = {1}, .positions = {8, 9}}, 8},
      {{.layers = {2}, .positions = {14}}, 12},
      {{.layers = {1}, .all_before = 15}, 0},
      {{.layers = {0, 1}, .all_from = 15}, 12},
      {{.layers = {1}, .positions = {9}, .all_from = 15}, 8}};
  Start();
  GenerateRequest first = Generate(prompt, 8);
  first.prompt_logprobs = true;
  ExpectReference(first, *Submit(first).sink);
  for (const auto& [choice, cached] : cases) {
    for (const uint32_t candidates : {1, 2}) {
      for (const bool logprobs : {false, true}) {
        GenerateRequest request = Generate(prompt, 8);
        request.hidden_states = choice;
        request.candidates = candidates;
        request.prompt_logprobs = logprobs;
        const Call call = Submit(request);
        ExpectReference(request, *call.sink);
        ExpectAllHidden(request, call.sink->record());
        // The likelihood of the token behind what is skipped is cached with its whole block.
        EXPECT_EQ(call.sink->record().cached_tokens, logprobs ? std::min(cached, 8u) : cached);
      }
    }
    ScoreRequest score{.context = prompt, .continuations = {{1, 2, 3, 4, 5, 6, 7, 8}, {9}}};
    score.hidden_states = choice;
    const Call call = Submit(score);
    ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
    ExpectAllHidden(score, call.sink->record());
    EXPECT_EQ(call.sink->record().cached_tokens, cached);
  }
}

// Of a cache of 16 blocks of 4, in which not all of them can come to their end side by side.
TEST_F(EngineTest, HiddenStatesComeOnceThoughTheRequestIsPutBack) {
  for (const bool keeps : {false, true}) {
    Start(
        {.max_batch_tokens = 7, .prefix_cache = keeps, .admission = Admission::kOptimistic},
        {.capacity = {.block_tokens = 4, .num_blocks = 16, .num_slots = 8, .max_step_tokens = 64}});
    const Call expected_length = Submit(Generate({9}, 2));
    ASSERT_EQ(expected_length.sink->WaitDone(), absl::OkStatus());
    GenerateRequest single = Generate({11, 12, 13}, 40);
    single.hidden_states = {.layers = {0, 1}, .all_before = 3, .all_from = 3};
    GenerateRequest other = Generate({3, 4, 5, 6, 7}, 36);
    other.hidden_states = {.layers = {1}, .positions = {1, 4, 5, 17, 33}};
    GenerateRequest candidates = Generate({1, 2, 3, 4, 5, 6}, 12);
    candidates.candidates = 3;
    candidates.hidden_states = {.layers = {2}, .all_before = 6, .all_from = 6};
    ScoreRequest score{.context = {2, 3, 4, 5, 6, 7, 8, 9, 10},
                       .continuations = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {4}, {8, 9, 10, 11, 12, 13}}};
    score.hidden_states = {.layers = {0, 2}, .all_before = 9, .all_from = 9};
    model_->ShutGate();
    const Call first = Submit(single), second = Submit(other), third = Submit(candidates);
    const Call fourth = Submit(score), fifth = Submit(candidates);
    model_->AwaitStep();
    model_->OpenGate();

    ExpectReference(single, *first.sink);
    ExpectReference(other, *second.sink);
    ExpectReference(candidates, *third.sink);
    ExpectReference(candidates, *fifth.sink);
    ASSERT_EQ(fourth.sink->WaitDone(), absl::OkStatus());
    ExpectAllHidden(single, first.sink->record());
    ExpectAllHidden(other, second.sink->record());
    ExpectAllHidden(candidates, third.sink->record());
    ExpectAllHidden(score, fourth.sink->record());
    ExpectAllHidden(candidates, fifth.sink->record());
    EXPECT_GE(engine_->status().preemptions, 1);
    // Two of the candidates may compute the prompt's last token in one step, and say so.
    const int64_t rows = 2 * (3 + 39) + 5 + 2 * (6 + 3 * 11) + 2 * (9 + 8 + 5);
    EXPECT_GE(model_->num_hidden_rows(), rows);
    EXPECT_LE(model_->num_hidden_rows(), rows + 2 * 2);
    ExpectNothingHeld();
  }
}

TEST_F(EngineTest, WhoAsksForNoHiddenStatesGetsNone) {
  Start();
  const Call call = Submit(Generate({1, 2, 3}, 4));
  ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
  EXPECT_THAT(call.sink->record().hidden, IsEmpty());
}

}  // namespace
}  // namespace peerage
