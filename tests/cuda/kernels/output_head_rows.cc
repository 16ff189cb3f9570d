#include "tests/cuda/kernels/output_head_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "model/kernels/logits.h"
#include "model/nn/cpu/sampler.h"
#include "tests/cuda/support/device_array.h"

namespace peerage {
namespace {

using kernels::cuda::DeviceAlternative;
using kernels::cuda::DeviceScore;
using kernels::cuda::ReportRows;
using kernels::cuda::ReportScratchBytes;
using kernels::cuda::RowRequest;
using kernels::cuda::SeenToken;
using kernels::cuda::TokenBias;

// What the rows of a launch share.
struct Lists {
  std::vector<RowRequest> requests;
  std::vector<uint32_t> targets;  // parallel to scores
  std::vector<TokenBias> biases;
  std::vector<SeenToken> seen;
  std::vector<uint32_t> masked;
  int32_t alternatives = 0;

  void Add(const HeadRow& row);
  void AddSampling(const nn::Slot& slot, RowRequest& request);
};

void Lists::AddSampling(const nn::Slot& slot, RowRequest& request) {
  const SamplingParams& params = slot.sampling();
  request.temperature = params.temperature;
  request.top_p = params.top_p;
  request.min_p = params.min_p;
  request.top_k = params.top_k;
  request.random = slot.Random();
  request.repetition_penalty = params.repetition_penalty;
  request.frequency_penalty = params.frequency_penalty;
  request.presence_penalty = params.presence_penalty;
  request.first_bias = static_cast<int32_t>(biases.size());
  request.biases = static_cast<int32_t>(params.logit_bias.size());
  for (const auto& [token, bias] : params.logit_bias) biases.push_back({token, bias});
  request.first_seen = static_cast<int32_t>(seen.size());
  request.seen = static_cast<int32_t>(slot.seen().size());
  for (const auto& [token, count] : slot.seen()) seen.push_back({token, count});
  request.first_masked = static_cast<int32_t>(masked.size());
  if (!slot.must_mask()) return;
  request.masked = static_cast<int32_t>(params.masked_ids.size());
  masked.insert(masked.end(), params.masked_ids.begin(), params.masked_ids.end());
}

void Lists::Add(const HeadRow& row) {
  RowRequest request{.token_row = row.padding ? -1 : static_cast<int32_t>(requests.size()),
                     .sample = row.sample ? 1 : 0,
                     .first_score = static_cast<int32_t>(targets.size()),
                     .first_alternative = alternatives,
                     .alternatives = row.alternatives};
  request.scores = row.sample ? 1 : static_cast<int32_t>(row.targets.size());
  targets.insert(targets.end(), row.targets.begin(), row.targets.end());
  targets.resize(request.first_score + request.scores);
  alternatives += std::max(row.alternatives, 0);
  if (row.sample) AddSampling(row.slot, request);
  requests.push_back(request);
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <typename T>
std::vector<T> Part(const std::vector<T>& all, int32_t first, int32_t count) {
  return {all.begin() + first, all.begin() + first + count};
}

HeadRowResult ResultOf(const RowRequest& request, const std::vector<DeviceScore>& scores,
                       const std::vector<DeviceAlternative>& alternatives, int32_t failed) {
  return {
      Part(scores, request.first_score, request.scores),
      Part(alternatives, request.first_alternative, std::max(request.alternatives, 0)),
      failed,
  };
}

}  // namespace

bool operator==(const HeadRowResult& a, const HeadRowResult& b) {
  return a.failed == b.failed && SameBits(a.scores, b.scores) &&
         SameBits(a.alternatives, b.alternatives);
}

std::vector<HeadRowResult> ReportHeadRows(const std::vector<HeadRow>& rows, cudaStream_t stream,
                                          bool misaligned) {
  const int vocabulary = static_cast<int>(rows[0].logits.size());
  const int count = static_cast<int>(rows.size());
  Lists lists;
  std::vector<float> logits(misaligned ? 1 : 0);
  for (const HeadRow& row : rows) {
    EXPECT_EQ(row.logits.size(), rows[0].logits.size());
    lists.Add(row);
    logits.insert(logits.end(), row.logits.begin(), row.logits.end());
  }
  const DeviceArray<float> device_logits(logits);
  const DeviceArray<RowRequest> requests(lists.requests);
  const DeviceArray<uint32_t> targets(lists.targets), masked(lists.masked);
  const DeviceArray<TokenBias> biases(lists.biases);
  const DeviceArray<SeenToken> seen(lists.seen);
  const DeviceArray<DeviceScore> scores(lists.targets.size(), {.token = kUnwrittenToken});
  const DeviceArray<DeviceAlternative> alternatives(lists.alternatives, {.token = kUnwrittenToken});
  const DeviceArray<int32_t> failed(count, kUnwrittenFailure);
  const DeviceArray<uint8_t> scratch(ReportScratchBytes(vocabulary, count), 0xff);
  EXPECT_EQ(ReportRows({.logits = device_logits.data() + (misaligned ? 1 : 0),
                        .vocabulary = vocabulary,
                        .requests = requests.data(),
                        .count = count,
                        .targets = targets.data(),
                        .biases = biases.data(),
                        .seen = seen.data(),
                        .masked = masked.data(),
                        .scores = scores.data(),
                        .alternatives = alternatives.data(),
                        .failed = failed.data(),
                        .scratch = scratch.data()},
                       stream),
            cudaSuccess);
  EXPECT_TRUE(SameBits(device_logits.Read(), logits)) << "logits were changed";
  const auto all_scores = scores.Read();
  const auto all_alternatives = alternatives.Read();
  const auto all_failed = failed.Read();
  std::vector<HeadRowResult> results;
  for (int i = 0; i < count; ++i) {
    results.push_back(ResultOf(lists.requests[i], all_scores, all_alternatives, all_failed[i]));
  }
  return results;
}

HeadRowResult ReferenceHeadRow(HeadRow& row) {
  HeadRowResult result;
  const double log_sum = kernels::LogSumExpReference(row.logits);
  if (!std::isfinite(log_sum)) {
    result.failed = 1;
    return result;
  }
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(row.logits[token] - log_sum);
  };
  std::vector<uint32_t> top(
      std::clamp<int>(row.alternatives, 0, static_cast<int>(row.logits.size())));
  kernels::TopK(row.logits, top);
  for (const uint32_t token : top) result.alternatives.push_back({token, logprob(token)});
  std::vector<TokenId> tokens = row.targets;
  if (row.sample) {
    std::vector<float> copy = row.logits;
    nn::cpu::SamplerScratch scratch;
    tokens = {nn::cpu::Sample(row.slot, copy, scratch)};
  }
  for (const TokenId token : tokens) {
    if (row.sample && row.alternatives < 0) {
      result.scores.push_back({token, std::numeric_limits<float>::quiet_NaN(), 0});
    } else {
      result.scores.push_back({token, logprob(token), kernels::Rank(row.logits, token)});
    }
  }
  return result;
}

}  // namespace peerage
