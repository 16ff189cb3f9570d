#include "model/nn/cpu/output_head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "tests/support/layer_bench.h"
#include "tests/support/nan.h"
#include "tests/support/odd_models.h"
#include "tests/support/random_values.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kModelWidth = 33;
constexpr int kVocab = 97;
constexpr double kLogitTolerance = 1e-5;

// The head of a small model, over chunks of 97 and 3 tokens in slots 0 and 1.
class OutputHeadTest : public testing::Test {
 protected:
  OutputHeadTest() { Load(1); }

  void Load(int threads) {
    bench_ = std::make_unique<LayerBench>(checkpoint_,
                                          LoadOptions{.threads = threads, .max_step_tokens = 100});
    head_.emplace(bench_->Load([&](WeightPlacer& placer) {
      const Norm norm = Norm::Place(bench_->plan().final_norm, placer);
      return OutputHead(norm, placer.Linear(nn::Rows({bench_->plan().embedding})));
    }));
    bench_->LayBuffers();
  }

  void Run() {
    const StepContext step = bench_->Begin({{97, 0, {0, 1, 2, 3}}, {3, 0, {4}}});
    bench_->SetResidual(x_);
    rows_.Assign({.chunks = bench_->batch().chunks(), .rows = wanted_}, bench_->batch());
    std::vector<SamplerScratch> scratch;  // of this bench's threads
    head_->Forward(step, absl::MakeSpan(slots_), rows_, scratch);
    output_ = rows_.Output();
  }

  // W norm(x) of one token, in double.
  DoubleRow Logits(int token) const {
    const auto row = x_.begin() + token * kModelWidth;
    const double squares = std::inner_product(row, row + kModelWidth, row, 0.0);
    const std::vector<float>& weight = checkpoint_.values("model.norm.weight");
    DoubleRow normed;
    for (int i = 0; i < kModelWidth; ++i) {
      normed.push_back(row[i] * weight[i] / std::sqrt(squares / kModelWidth + 3e-4));
    }
    return MultiplyRows(checkpoint_, "model.embed_tokens.weight", {normed})[0];
  }

  // What a score says is what the double logits say; a rank may differ by those that are equal as
  // far as f32 knows.
  static void ExpectScore(const TokenScore& score, const DoubleRow& logits) {
    double sum = 0, above = 0, near = 0;
    const double own = logits[score.token];
    for (const double logit : logits) {
      sum += std::exp(logit);
      above += logit > own + kLogitTolerance;
      near += std::fabs(logit - own) <= kLogitTolerance;
    }
    EXPECT_NEAR(score.logprob, own - std::log(sum), 2 * kLogitTolerance);
    EXPECT_GE(score.rank, 1 + above);
    EXPECT_LE(score.rank, above + near);
  }

  MemoryCheckpoint checkpoint_{OddConfig(), 11};
  std::unique_ptr<LayerBench> bench_;
  std::optional<OutputHead> head_;
  std::vector<float> x_ = RandomValues(100 * kModelWidth, 12);
  std::vector<OutputRow> wanted_;
  std::vector<Slot> slots_ = std::vector<Slot>(2, Slot({.sampling = {.temperature = 0}}));
  OutputRows rows_{kVocab};
  StepOutput output_;
};

// More rows than one group of logits holds; scored and sampled rows mixed, in no order of tokens.
TEST_F(OutputHeadTest, ReportsWhatTheLogitsSay) {
  std::vector<TokenId> targets(kVocab);
  std::iota(targets.begin(), targets.end(), 0);
  for (int i = 0; i < 131; ++i) {
    OutputRow row{.chunk = i % 7 == 0, .row = i % 7 == 0 ? i % 3 : i * 5 % 97};
    row.sample = i % 4 == 1;
    row.alternatives = i % 22;
    if (!row.sample) row.targets = absl::MakeConstSpan(targets).subspan(i % 90, i % 5);
    wanted_.push_back(row);
  }
  Run();

  ASSERT_EQ(output_.rows.size(), 131u);
  for (int i = 0; i < 131; ++i) {
    SCOPED_TRACE(i);
    const OutputRow& wanted = wanted_[i];
    const DoubleRow logits = Logits(wanted.chunk == 1 ? 97 + wanted.row : wanted.row);
    const RowOutput& row = output_.rows[i];
    ASSERT_EQ(row.tokens.size(), wanted.sample ? 1 : wanted.targets.size());
    for (size_t t = 0; t < row.tokens.size(); ++t) {
      ExpectScore(row.tokens[t], logits);
      // Temperature is 0: the best is drawn.
      if (wanted.sample) {
        EXPECT_EQ(row.tokens[t].rank, 1u);
      } else {
        EXPECT_EQ(row.tokens[t].token, wanted.targets[t]);
      }
    }
    ASSERT_EQ(row.alternatives.size(), static_cast<size_t>(std::min(wanted.alternatives, 20)));
    for (size_t a = 0; a < row.alternatives.size(); ++a) {
      const TokenAlternative& alternative = row.alternatives[a];
      ExpectScore({alternative.token, alternative.logprob, static_cast<uint32_t>(a + 1)}, logits);
    }
  }
}

TEST_F(OutputHeadTest, BitsDoNotDependOnThreadsOrOnOtherRows) {
  std::vector<TokenId> targets = {0, 96, 31};
  for (int i = 0; i < 97; ++i) wanted_.push_back({.row = i, .targets = targets});
  Run();
  std::vector<float> expected;
  for (const RowOutput& row : output_.rows) {
    for (const TokenScore& score : row.tokens) expected.push_back(score.logprob);
  }
  Load(3);
  Run();
  const std::vector<OutputRow> all = wanted_;
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(output_.rows[i].tokens[1].logprob, expected[3 * i + 1]) << i;
  }
  for (const size_t i : {0, 63, 64, 96}) {
    wanted_ = {all[i]};
    Run();
    for (int t = 0; t < 3; ++t) {
      EXPECT_EQ(output_.rows[0].tokens[t].logprob, expected[3 * i + t]) << i;
    }
  }
}

// Of equal logits the lower id is first.
TEST_F(OutputHeadTest, EqualLogitsRankByIndex) {
  std::vector<float>& embedding = checkpoint_.values("model.embed_tokens.weight");
  for (const int twin : {5, 90}) {
    std::copy_n(embedding.begin() + 31 * kModelWidth, kModelWidth,
                embedding.begin() + twin * kModelWidth);
  }
  Load(1);
  const std::vector<TokenId> targets = {90, 5, 31};
  wanted_ = {{.row = 3, .targets = targets, .alternatives = 20}};
  Run();
  const absl::Span<const TokenScore> scores = output_.rows[0].tokens;
  EXPECT_EQ(scores[2].rank, scores[1].rank + 1);
  EXPECT_EQ(scores[0].rank, scores[1].rank + 2);
  EXPECT_EQ(scores[0].logprob, scores[1].logprob);
}

// Bias decides what is drawn, and nothing that is reported of it.
TEST_F(OutputHeadTest, LogprobsAreOfTheRawLogits) {
  slots_[0] = Slot({.sampling = {.temperature = 0, .logit_bias = {{42, 100.0f}}}});
  const std::vector<TokenId> target = {42};
  wanted_ = {{.row = 9, .sample = true, .alternatives = 3}, {.row = 9, .targets = target}};
  Run();
  EXPECT_EQ(output_.rows[0].tokens[0].token, 42u);
  EXPECT_EQ(output_.rows[0].tokens[0].logprob, output_.rows[1].tokens[0].logprob);
  EXPECT_EQ(output_.rows[0].tokens[0].rank, output_.rows[1].tokens[0].rank);
  EXPECT_EQ(slots_[0].generated(), 1u);
  EXPECT_EQ(slots_[1].generated(), 0u);
}

TEST_F(OutputHeadTest, WhoAsksForNoLogprobGetsNone) {
  wanted_ = {{.row = 9, .sample = true, .alternatives = -1},
             {.row = 9, .sample = true, .alternatives = 0}};
  Run();
  const TokenScore& score = output_.rows[0].tokens[0];
  EXPECT_TRUE(std::isnan(score.logprob));
  EXPECT_EQ(score.rank, 0u);
  EXPECT_EQ(score.token, output_.rows[1].tokens[0].token);
}

// A row that is not a number fails its chunk, and its slot draws nothing.
TEST_F(OutputHeadTest, ANaNFailsItsChunkAlone) {
  const std::vector<TokenId> targets = {7};
  wanted_ = {{.chunk = 0, .row = 70, .targets = targets},
             {.chunk = 1, .row = 2, .sample = true},
             {.chunk = 0, .row = 96, .targets = targets}};
  Run();
  const float before = output_.rows[2].tokens[0].logprob;
  const uint32_t drawn = slots_[1].generated();

  x_[99 * kModelWidth + 4] = kNan;
  Run();
  EXPECT_TRUE(output_.chunk_status[0].ok());
  EXPECT_EQ(output_.chunk_status[1].code(), absl::StatusCode::kInternal);
  EXPECT_EQ(output_.rows[2].tokens[0].logprob, before);
  EXPECT_EQ(slots_[1].generated(), drawn);
}

}  // namespace
}  // namespace peerage::nn::cpu
