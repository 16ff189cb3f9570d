#include "model/nn/output_head.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/kernels/logits.h"

namespace peerage::nn {
namespace {

constexpr int kMaxAlternatives = 20;

size_t TokenCount(const OutputRow& row) { return row.sample ? 1 : row.targets.size(); }

}  // namespace

StepOutput OutputHead::Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) {
  Lay(step.input);
  const size_t vocab = projection_.outputs();
  if (sampler_scratch_.empty()) sampler_scratch_.assign(pool.threads(), SamplerScratch(vocab));
  const size_t count = step.input.rows.size();
  for (size_t first = 0; first < count; first += Workspace::kLogitRows) {
    Project(pool, workspace, step, first);
    const size_t group = std::min<size_t>(Workspace::kLogitRows, count - first);
    pool.For(static_cast<int64_t>(group), 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        failed_[first + i] =
            !Report(step, first + i, {workspace.logits + i * vocab, vocab},
                    {{workspace.row_scratch + thread * vocab, vocab}, sampler_scratch_[thread]});
      }
    });
  }
  statuses_.assign(step.input.chunks.size(), absl::OkStatus());
  for (size_t i = 0; i < count; ++i) {
    if (failed_[i]) {
      statuses_[step.input.rows[i].chunk] =
          absl::InternalError("the model's output is not a number");
    }
  }
  return {.rows = rows_, .chunk_status = statuses_};
}

void OutputHead::Lay(const StepInput& input) {
  Place next;
  places_.clear();
  for (const OutputRow& row : input.rows) {
    places_.push_back(next);
    next.tokens += TokenCount(row);
    next.alternatives += AlternativeCount(row);
  }
  tokens_.resize(next.tokens);
  alternatives_.resize(next.alternatives);
  failed_.assign(input.rows.size(), 0);
  rows_.clear();
  for (size_t i = 0; i < input.rows.size(); ++i) {
    const OutputRow& row = input.rows[i];
    rows_.push_back({absl::MakeConstSpan(tokens_).subspan(places_[i].tokens, TokenCount(row)),
                     absl::MakeConstSpan(alternatives_)
                         .subspan(places_[i].alternatives, AlternativeCount(row))});
  }
}

void OutputHead::Project(kernels::ThreadPool& pool, Workspace& workspace, const Step& step,
                         size_t first) {
  const size_t width = norm_.width;
  const size_t count = std::min<size_t>(Workspace::kLogitRows, step.input.rows.size() - first);
  const Activations last{.x = workspace.normed,
                         .stride = width,
                         .panels = workspace.panels,
                         .tokens = static_cast<int>(count)};
  pool.For(last.tokens, kRowGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const OutputRow& row = step.input.rows[first + i];
      const size_t token = step.batch.first_row(row.chunk) + row.row;
      std::memcpy(workspace.normed + i * width, workspace.residual + token * width,
                  width * sizeof(float));
    }
    norm_.Forward({.x = workspace.normed, .y = workspace.normed, .stride = width},
                  static_cast<int>(begin), static_cast<int>(end));
    projection_.PrepareInput(last, static_cast<int>(begin), static_cast<int>(end));
  });
  projection_.Forward(
      pool, last, {.y = workspace.logits, .stride = static_cast<size_t>(projection_.outputs())});
}

size_t OutputHead::AlternativeCount(const OutputRow& row) const {
  return std::clamp(row.alternatives, 0, std::min(kMaxAlternatives, projection_.outputs()));
}

bool OutputHead::Report(const Step& step, size_t row, std::span<float> logits,
                        const RowScratch& scratch) {
  const OutputRow& wanted = step.input.rows[row];
  const float log_sum = kernels::LogSumExp(logits);
  if (!std::isfinite(log_sum)) return false;

  std::array<uint32_t, kMaxAlternatives> top;
  const std::span<uint32_t> alternatives(top.data(), AlternativeCount(wanted));
  kernels::TopK(logits, alternatives);
  TokenAlternative* alternative = alternatives_.data() + places_[row].alternatives;
  for (const uint32_t id : alternatives) *alternative++ = {id, logits[id] - log_sum};

  TokenScore* score = tokens_.data() + places_[row].tokens;
  if (!wanted.sample) {
    for (const TokenId target : wanted.targets) {
      *score++ = {target, logits[target] - log_sum, kernels::Rank(logits, target)};
    }
    return true;
  }
  Sampler& sampler = step.samplers[step.input.chunks[wanted.chunk].slot];
  if (wanted.alternatives < 0) {
    *score = {sampler.Sample(logits, scratch.sampler), std::numeric_limits<float>::quiet_NaN(), 0};
    return true;
  }
  // Sampling works in place; the log-probability and rank are of the raw logits.
  std::copy(logits.begin(), logits.end(), scratch.logits.begin());
  const TokenId id = sampler.Sample(scratch.logits, scratch.sampler);
  *score = {id, logits[id] - log_sum, kernels::Rank(logits, id)};
  return true;
}

}  // namespace peerage::nn
