#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::IsEmpty;

const std::vector<ExpertLayer> kLayers = {
    {.layer = 0, .num_experts = 50, .heads = 2, .top_k = 3},
    {.layer = 3, .kind = ExpertLayerKind::kMixtureFfn, .num_experts = 4, .heads = 1, .top_k = 2}};

// How often the sink was told of the tokens of a candidate's sequence: right picks, each time.
std::vector<int> CountPicks(const RecordingSink::Record& record, uint32_t candidate,
                            const std::vector<TokenId>& sequence) {
  std::vector<int> told(sequence.size());
  for (const RecordingSink::Picks& picks : record.picks) {
    if (picks.candidate != candidate) continue;
    FakeModel::Picks expected;
    for (uint32_t i = 0; i < picks.tokens; ++i) {
      const uint32_t position = picks.first_position + i;
      if (picks.layer == 0) ++told.at(position);
      const auto one = FakeModel::PicksOf(kLayers[picks.layer], sequence.at(position),
                                          static_cast<int32_t>(position));
      expected.ids.insert(expected.ids.end(), one.ids.begin(), one.ids.end());
      expected.weights.insert(expected.weights.end(), one.weights.begin(), one.weights.end());
    }
    EXPECT_EQ(picks.ids, expected.ids);
    EXPECT_EQ(picks.weights, expected.weights);
  }
  return told;
}

// Another request is in every batch, so that a chunk's picks do not begin with the step's.
TEST_F(EngineTest, TellsThePicksOfAFullTraceStepByStepWhateverTheChunks) {
  for (const int32_t budget : {1, 3, 64}) {
    for (const uint32_t candidates : {1, 2}) {
      Start({.max_batch_tokens = budget}, {.expert_layers = kLayers});
      GenerateRequest request = Generate({5, 4, 3, 2, 1, 6, 7}, 4);
      request.trace = ExpertTraceLevel::kFull;
      request.candidates = candidates;
      model_->ShutGate();
      const Call other = Submit(Generate({9, 8, 7}, 5));
      const Call call = Submit(request);
      model_->OpenGate();
      ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
      ASSERT_EQ(other.sink->WaitDone(), absl::OkStatus());

      RecordingSink::Record record = call.sink->record();
      for (uint32_t candidate = 0; candidate < candidates; ++candidate) {
        std::vector<TokenId> sequence = request.prompt;
        const std::vector<TokenId>& generated = record.candidates[candidate].tokens;
        sequence.insert(sequence.end(), generated.begin(), generated.end() - 1);
        std::vector<int> expected(sequence.size(), 1);
        if (candidate > 0) std::fill_n(expected.begin(), request.prompt.size() - 1, 0);
        EXPECT_EQ(CountPicks(record, candidate, sequence), expected);
      }
      EXPECT_THAT(other.sink->record().picks, IsEmpty());
    }
  }
}

TEST_F(EngineTest, TellsNoPicksWithASummary) {
  Start({}, {.expert_layers = kLayers});
  GenerateRequest request = Generate({1, 2, 3}, 4);
  request.trace = ExpertTraceLevel::kSummary;
  const Call call = Submit(request);
  ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
  EXPECT_THAT(call.sink->record().picks, IsEmpty());
}

}  // namespace
}  // namespace peerage
