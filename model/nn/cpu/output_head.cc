#include "model/nn/cpu/output_head.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/kernels/logits.h"

namespace peerage::nn::cpu {

void OutputHead::Forward(const StepContext& step, absl::Span<Slot> slots, OutputRows& rows,
                         std::vector<SamplerScratch>& scratch) const {
  const Workspace& buffers = step.workspace;
  const size_t vocab = projection_.outputs();
  // Each is made in its place: a copy would not have the room that was reserved.
  if (scratch.empty()) {
    scratch.reserve(step.pool.threads());
    for (int i = 0; i < step.pool.threads(); ++i) scratch.emplace_back(vocab);
  }
  for (int first = 0; first < rows.size(); first += Workspace::kLogitRows) {
    const int count = std::min(Workspace::kLogitRows, rows.size() - first);
    Project(step, rows, first, count);
    step.pool.For(count, 1, [&](int64_t begin, int64_t end, int thread) {
      const Scratch own{{buffers.row_scratch + thread * vocab, vocab}, scratch[thread]};
      for (int64_t i = begin; i < end; ++i) {
        const int row = first + static_cast<int>(i);
        Slot& slot = slots[rows.slot(row)];
        if (!Report(rows, row, {buffers.logits + i * vocab, vocab}, slot, own)) rows.Fail(row);
      }
    });
  }
}

void OutputHead::Normalize(const StepContext& step, HiddenRows::Range rows,
                           HiddenRows& hidden) const {
  const size_t width = norm_.width;
  for (int row = rows.first; row < rows.end; ++row) {
    norm_.Forward(step.workspace.residual + hidden.tokens()[row] * width,
                  hidden.values().data() + row * width, {.first = 0, .end = 1});
  }
}

void OutputHead::Project(const StepContext& step, const OutputRows& rows, int first,
                         int count) const {
  const Workspace& buffers = step.workspace;
  const size_t width = norm_.width;
  const Activations last{
      .x = buffers.normed, .stride = width, .panels = buffers.panels, .tokens = count};
  ForRows(step.pool, count, [&](RowRange range) {
    for (int i = range.first; i < range.end; ++i) {
      std::memcpy(buffers.normed + i * width, buffers.residual + rows.token(first + i) * width,
                  width * sizeof(float));
    }
    norm_.Forward(buffers.normed, buffers.normed, range);
    projection_.Prepare(last, range);
  });
  projection_.Forward(step.pool, last,
                      {.y = buffers.logits, .stride = static_cast<size_t>(projection_.outputs())});
}

bool OutputHead::Report(OutputRows& rows, int row, std::span<float> logits, Slot& slot,
                        const Scratch& scratch) const {
  const OutputRow& wanted = rows.wanted(row);
  const float log_sum = kernels::LogSumExp(logits);
  if (!std::isfinite(log_sum)) return false;

  const absl::Span<TokenAlternative> alternatives = rows.alternatives(row);
  std::array<uint32_t, OutputRows::kMaxAlternatives> top;
  kernels::TopK(logits, std::span<uint32_t>(top.data(), alternatives.size()));
  for (size_t i = 0; i < alternatives.size(); ++i) {
    alternatives[i] = {top[i], logits[top[i]] - log_sum};
  }

  const absl::Span<TokenScore> scores = rows.scores(row);
  if (!wanted.sample) {
    for (size_t i = 0; i < scores.size(); ++i) {
      const TokenId target = wanted.targets[i];
      scores[i] = {target, logits[target] - log_sum, kernels::Rank(logits, target)};
    }
    return true;
  }
  if (wanted.alternatives < 0) {
    scores[0] = {Sample(slot, logits, scratch.sampler), std::numeric_limits<float>::quiet_NaN(), 0};
    return true;
  }
  // Sampling works in place; the log-probability and rank are of the raw logits.
  std::copy(logits.begin(), logits.end(), scratch.logits.begin());
  const TokenId id = Sample(slot, scratch.logits, scratch.sampler);
  scores[0] = {id, logits[id] - log_sum, kernels::Rank(logits, id)};
  return true;
}

}  // namespace peerage::nn::cpu
