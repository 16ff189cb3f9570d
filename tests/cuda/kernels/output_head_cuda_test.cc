#include "model/kernels/output_head_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/cuda/kernels/output_head_rows.h"
#include "tests/cuda/support/device_array.h"

namespace peerage {
namespace {

using kernels::cuda::ReportRows;
using kernels::cuda::ReportRowsArgs;
using kernels::cuda::ReportScratchBytes;
using Logits = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Between the device's sums of f32 and doubles: e^x and its sums (16 of a thread, 8 steps of a
// block, 7 of chunks), the logarithm, and the rounding of three numbers.
float Tolerance(float logprob, float highest) {
  constexpr float kUlp = 0x1p-23f;
  return kUlp * (1.3f + 16 + 8 + 7 + 13 + 2 * std::abs(highest) + 2 * std::abs(logprob));
}

class OutputHeadTest : public CudaTest {
 protected:
  using Random = std::mt19937;

  // Rows of one launch against the CPU.
  void ExpectLikeCpu(std::vector<HeadRow> rows, bool misaligned = false) {
    const std::vector<HeadRowResult> results = ReportHeadRows(rows, stream_, misaligned);
    for (size_t i = 0; i < rows.size(); ++i) {
      SCOPED_TRACE("row " + std::to_string(i) + " of " + std::to_string(rows.size()) + ", " +
                   std::to_string(rows[i].logits.size()) + " tokens");
      ExpectLikeCpu(rows[i], results[i]);
      if (HasFailure()) return;
    }
  }

 private:
  static void ExpectLikeCpu(HeadRow& row, const HeadRowResult& result) {
    const HeadRowResult expected = ReferenceHeadRow(row);
    ASSERT_EQ(result.failed, expected.failed);
    if (expected.failed != 0) return;
    const float highest = *std::max_element(row.logits.begin(), row.logits.end());
    ASSERT_EQ(result.scores.size(), expected.scores.size());
    for (size_t i = 0; i < expected.scores.size(); ++i) {
      ASSERT_EQ(result.scores[i].token, expected.scores[i].token);
      ASSERT_EQ(result.scores[i].rank, expected.scores[i].rank);
      ExpectLogprob(result.scores[i].logprob, expected.scores[i].logprob, highest);
    }
    for (size_t i = 0; i < expected.alternatives.size(); ++i) {
      ASSERT_EQ(result.alternatives[i].token, expected.alternatives[i].token) << i;
      ExpectLogprob(result.alternatives[i].logprob, expected.alternatives[i].logprob, highest);
    }
  }

  static void ExpectLogprob(float logprob, float expected, float highest) {
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(logprob)) << logprob;
    } else if (std::isinf(expected)) {
      EXPECT_EQ(logprob, expected);
    } else {
      EXPECT_NEAR(logprob, expected, Tolerance(expected, highest));
    }
  }
};

// ---- rows of all kinds

Logits RandomLogits(int vocabulary, int kind, std::mt19937& random) {
  Logits logits(vocabulary);
  std::normal_distribution<float> normal(0, 3);
  for (float& x : logits) x = normal(random);
  for (int i = 0; i < vocabulary; ++i) {
    float& x = logits[i];
    switch (kind) {
      case 0:
        break;
      case 1:
        x = std::round(x);
        break;  // ties
      case 2:
        x = 1.5f;
        break;  // all equal
      case 3:
        x = x > 1 ? x : -kInfinity;
        break;  // most impossible
      case 4:
        x *= 400;
        break;  // wide
      case 5:
        x = 20 + x * 1e-7f;
        break;  // neighbouring floats
      case 6:
        x = static_cast<float>(i) / 8;
        break;  // ascending
      case 7:
        x = x > 0 ? 0.0f : -0.0f;
        break;  // zeros of both signs
      case 8:
        x = x * 1e-42f;
        break;  // subnormal
      case 9:
        x = std::round(x) * 1e37f;
        break;  // near the highest float
      default:
        x = i % 7 == 3 ? 25.0f : std::round(4 * x) / 4 - 5;  // a plateau
    }
  }
  if (kind == 3) logits[random() % vocabulary] = 0;
  return logits;
}
constexpr int kKinds = 11;

SamplingParams RandomSampling(int vocabulary, std::mt19937& random) {
  const auto below = [&](int n) { return static_cast<int>(random() % n); };
  const auto one_of = [&](auto... values) {
    const std::common_type_t<decltype(values)...> all[] = {values...};
    return all[below(sizeof...(values))];
  };
  const auto token = [&] { return static_cast<TokenId>(below(vocabulary)); };
  SamplingParams params{.temperature = one_of(0.0f, 0.01f, 0.1f, 0.7f, 1.0f, 1.3f, 2.5f, 10.0f),
                        .seed = uint64_t{random()} << 32 | random()};
  if (below(2) == 0) {
    params.top_k =
        one_of(1, 2, 3, 40, 300, vocabulary / 2, vocabulary - 1, vocabulary, vocabulary + 5);
  }
  if (below(2) == 0) {
    params.top_p = one_of(1e-30f, 1e-6f, 0.1f, 0.25f, 0.5f, 0.9f, 0.95f, 0.999f, 0.99999994f);
  }
  if (below(3) == 0) params.min_p = one_of(1e-9f, 0.01f, 0.1f, 0.5f, 0.99999994f);
  if (below(3) == 0) {
    params.repetition_penalty = one_of(1e-40f, 1e-3f, 0.5f, 1.0f, 1.1f, 1.5f, 10.0f);
    params.frequency_penalty = one_of(-10.0f, -0.3f, 0.0f, 0.3f, 10.0f);
    params.presence_penalty = one_of(-10.0f, 0.0f, 0.7f, 10.0f);
  }
  if (below(3) == 0) {  // some named twice
    const int range = one_of(3, 10, vocabulary);
    for (int i = below(100); i >= 0; --i) {
      params.logit_bias.push_back({token() % range, one_of(-100.0f, -1.7f, 0.3f, 2.9f, 100.0f)});
    }
    for (auto& [id, bias] : params.logit_bias) id %= vocabulary;
  }
  if (below(3) == 0) {
    params.min_tokens = 2;
    for (int i = below(70); i >= 0; --i) params.masked_ids.push_back(token());
    if (below(3) == 0 && vocabulary < 6000) {
      for (int i = 0; i < vocabulary; ++i) params.masked_ids.push_back(i);
    }
  }
  return params;
}

HeadRow SampledRow(int vocabulary, int kind, std::mt19937& random) {
  const auto token = [&] { return static_cast<TokenId>(random() % vocabulary); };
  HeadRow row{.logits = RandomLogits(vocabulary, kind, random), .sample = true};
  std::vector<TokenId> prompt(random() % 50);
  std::generate(prompt.begin(), prompt.end(), token);
  const SamplingParams sampling = RandomSampling(vocabulary, random);
  row.slot = nn::Slot(
      {.sampling = sampling, .prompt = prompt, .candidate = static_cast<uint32_t>(random() % 4)});
  for (int i = random() % 4; i > 0; --i) row.slot.Remember(token());
  row.alternatives = static_cast<int>(random() % 23) - 2;
  row.alternatives = std::min({std::max(row.alternatives, -1), 20, vocabulary});
  return row;
}

HeadRow ScoredRow(int vocabulary, int kind, std::mt19937& random) {
  HeadRow row{.logits = RandomLogits(vocabulary, kind, random),
              .targets = std::vector<TokenId>(random() % 4)};
  for (TokenId& token : row.targets) token = random() % vocabulary;
  row.alternatives = std::min<int>(random() % 21, vocabulary);
  return row;
}

std::vector<HeadRow> RandomRows(int vocabulary, int count, std::mt19937& random) {
  std::vector<HeadRow> rows;
  for (int i = 0; i < count; ++i) {
    const int kind = static_cast<int>(random() % kKinds);
    rows.push_back(random() % 5 == 0 ? ScoredRow(vocabulary, kind, random)
                                     : SampledRow(vocabulary, kind, random));
  }
  return rows;
}

// ---- the tests

TEST_F(OutputHeadTest, DrawsScoresAndRanksAsTheCpuDoes) {
  for (const int vocabulary : {1, 2, 3, 5, 31, 32, 33, 97, 257, 1000}) {
    Random random(vocabulary);
    for (int launch = 0; launch < 3; ++launch) {
      ExpectLikeCpu(RandomRows(vocabulary, 64, random));
      if (HasFailure()) return;
    }
  }
}

TEST_F(OutputHeadTest, DrawsAsTheCpuDoesFromVocabulariesOfManyChunks) {
  for (const int vocabulary : {4095, 4096, 4097, 8191, 12'289}) {
    Random random(vocabulary);
    ExpectLikeCpu(RandomRows(vocabulary, 60, random));
    if (HasFailure()) return;
  }
}

TEST_F(OutputHeadTest, DrawsAsTheCpuDoesFromTheLargestVocabularies) {
  for (const int vocabulary : {50'257, 262'144}) {
    Random random(vocabulary);
    ExpectLikeCpu(RandomRows(vocabulary, 7, random));
    if (HasFailure()) return;
  }
}

TEST_F(OutputHeadTest, ReadsRowsThatAreNotAligned) {
  Random random(5);
  ExpectLikeCpu(RandomRows(4100, 12, random), /*misaligned=*/true);
}

TEST_F(OutputHeadTest, ScoresAThousandTargetsOfOneRow) {
  Random random(6);
  HeadRow row{.logits = RandomLogits(5000, 1, random), .targets = std::vector<TokenId>(1000)};
  std::iota(row.targets.begin(), row.targets.end(), 3900);
  ExpectLikeCpu({row});
}

TEST_F(OutputHeadTest, CutsWhereEveryTokenIsACandidate) {
  for (const int vocabulary : {40, 9000}) {
    for (const float top_p : {1e-9f, 0.26f, 0.5f, 0.99999994f, 1.0f}) {
      for (const uint32_t top_k : {0, 1, 7, vocabulary - 1}) {
        const SamplingParams params{.temperature = 1.1f, .top_k = top_k, .top_p = top_p, .seed = 4};
        ExpectLikeCpu({{.logits = Logits(vocabulary, -2.5f),
                        .slot = nn::Slot({.sampling = params}),
                        .sample = true,
                        .alternatives = 1}});
        if (HasFailure()) return;
      }
    }
  }
}

// The plateau is cut in the middle by top_k, and by top_p within what top_k leaves of it.
TEST_F(OutputHeadTest, TopPIsTheMassOfWhatTopKKeepsOfAPlateau) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Logits logits(5000, 1);
    logits[17] = 3;
    const SamplingParams params{.top_k = 100, .top_p = 0.7f, .seed = seed};
    ExpectLikeCpu({{.logits = logits, .slot = nn::Slot({.sampling = params}), .sample = true}});
    if (HasFailure()) return;
  }
}

TEST_F(OutputHeadTest, IgnoresAMaskThatLeavesNothing) {
  Logits logits(6000, -kInfinity);
  logits[5000] = 2;
  logits[7] = 1;
  for (const float temperature : {0.0f, 1.0f}) {
    for (const std::vector<TokenId>& masked : {std::vector<TokenId>{5000}, {7, 5000, 7}}) {
      const SamplingParams params{
          .temperature = temperature, .min_tokens = 1, .masked_ids = masked};
      HeadRow row{.logits = logits, .slot = nn::Slot({.sampling = params}), .sample = true};
      const HeadRowResult result = ReportHeadRows({row}, stream_)[0];
      EXPECT_EQ(result.scores[0].token, ReferenceHeadRow(row).scores[0].token);
    }
  }
}

TEST_F(OutputHeadTest, ARowWithoutADistributionFailsAlone) {
  Random random(8);
  std::vector<HeadRow> rows = RandomRows(5000, 6, random);
  const std::vector<HeadRowResult> healthy = ReportHeadRows(rows, stream_);
  std::vector<HeadRow> broken = rows;
  broken[0].logits[4999] = kNan;
  broken[2].logits[0] = kInfinity;
  std::fill(broken[3].logits.begin(), broken[3].logits.end(), -kInfinity);
  broken[5].logits[4096] = -kNan;
  const std::vector<HeadRowResult> results = ReportHeadRows(broken, stream_);
  for (const int row : {0, 2, 3, 5}) {
    EXPECT_EQ(results[row].failed, 1);
    for (const auto& score : results[row].scores) EXPECT_EQ(score.token, kUnwrittenToken);
  }
  for (const int row : {1, 4}) EXPECT_EQ(results[row], healthy[row]);
}

TEST_F(OutputHeadTest, RowsHaveTheSameBitsAloneAndInAnyBatch) {
  Random random(9);
  const std::vector<HeadRow> rows = RandomRows(4500, 12, random);
  const std::vector<HeadRowResult> results = ReportHeadRows(rows, stream_);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(ReportHeadRows({rows[i]}, stream_)[0], results[i]) << i;
  }
  const std::vector<HeadRow> reversed(rows.rbegin(), rows.rend());
  const std::vector<HeadRowResult> backwards = ReportHeadRows(reversed, stream_);
  EXPECT_TRUE(std::equal(results.begin(), results.end(), backwards.rbegin()));
}

TEST_F(OutputHeadTest, WritesNothingOfAPaddingRow) {
  Random random(10);
  std::vector<HeadRow> rows = RandomRows(300, 5, random);
  for (const int padding : {1, 4}) {
    rows[padding].padding = true;
    rows[padding].logits.assign(300, kNan);
  }
  const std::vector<HeadRowResult> results = ReportHeadRows(rows, stream_);
  for (const int padding : {1, 4}) {
    EXPECT_EQ(results[padding].failed, kUnwrittenFailure);
    for (const auto& score : results[padding].scores) EXPECT_EQ(score.token, kUnwrittenToken);
    for (const auto& token : results[padding].alternatives) EXPECT_EQ(token.token, kUnwrittenToken);
  }
  for (const int row : {0, 2, 3}) EXPECT_EQ(results[row], ReportHeadRows({rows[row]}, stream_)[0]);
}

TEST_F(OutputHeadTest, ReportsFromACapturedGraph) {
  Random random(11);
  HeadRow row = SampledRow(700, 0, random);
  row.slot = nn::Slot({.sampling = {.temperature = 0.8f, .top_p = 0.9f}});
  const DeviceArray<float> logits(row.logits);
  const DeviceArray<kernels::cuda::RowRequest> requests({{.token_row = 0,
                                                          .sample = 1,
                                                          .scores = 1,
                                                          .alternatives = 0,
                                                          .temperature = 0.8f,
                                                          .top_p = 0.9f,
                                                          .random = row.slot.Random()}});
  const DeviceArray<kernels::cuda::DeviceScore> scores(1);
  const DeviceArray<int32_t> failed(1);
  const DeviceArray<uint8_t> scratch(ReportScratchBytes(700, 1));
  const ReportRowsArgs args{.logits = logits.data(),
                            .vocabulary = 700,
                            .requests = requests.data(),
                            .count = 1,
                            .scores = scores.data(),
                            .failed = failed.data(),
                            .scratch = scratch.data()};
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t launch = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(ReportRows(args, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&launch, graph, 0), cudaSuccess);
  const TokenId expected = ReferenceHeadRow(row).scores[0].token;
  for (int time = 0; time < 2; ++time) {
    ASSERT_EQ(cudaGraphLaunch(launch, stream_), cudaSuccess);
    EXPECT_EQ(scores.Read()[0].token, expected);
  }
  cudaGraphExecDestroy(launch);
  cudaGraphDestroy(graph);
}

TEST_F(OutputHeadTest, RefusesWhatNoGridHolds) {
  EXPECT_EQ(ReportRows({.vocabulary = 0, .count = 1}, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(ReportRows({.vocabulary = 262'145, .count = 1}, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(ReportRows({.vocabulary = 7, .count = 65'536}, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(ReportRows({.vocabulary = 7, .count = 0}, stream_), cudaSuccess);
}

// Bytes of memory decide how long a row takes.
TEST_F(OutputHeadTest, EachKernelReadsARowOnceInWholeSectors) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  constexpr int kVocabulary = 49'152;
  Random random(12);
  const SamplingParams params{.temperature = 0.9f, .top_p = 0.9f, .logit_bias = {{5, 1.0f}}};
  const HeadRow row{.logits = RandomLogits(kVocabulary, 0, random),
                    .slot = nn::Slot({.sampling = params}),
                    .sample = true,
                    .alternatives = 5};
  standin::ResetCounters();
  ReportHeadRows({row}, stream_);
  constexpr uint64_t kSectors = kVocabulary * sizeof(float) / 32, kRequests = kVocabulary / 4 / 32;
  for (const char* kernel : {"ScanKernel", "WeighKernel", "GatherKernel", "RankKernel"}) {
    SCOPED_TRACE(kernel);
    const standin::KernelCounters counters = standin::Counters(kernel);
    EXPECT_EQ(counters.launches, 1u);
    EXPECT_GE(counters.load_sectors, kSectors);
    EXPECT_LE(counters.load_sectors, kSectors * 5 / 2);  // histograms, summaries, requests
    EXPECT_LE(counters.load_requests, 7 * kRequests);
  }
  EXPECT_EQ(standin::Counters("ScanKernel").bank_conflicts, 0u);
  EXPECT_LE(standin::Counters("FinishKernel").load_sectors, kSectors);
}

}  // namespace
}  // namespace peerage
