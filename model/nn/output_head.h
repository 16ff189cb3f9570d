#pragma once

#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/kernels/thread_pool.h"
#include "model/language_model.h"
#include "model/nn/linear_layer.h"
#include "model/nn/norm.h"
#include "model/nn/sampler.h"
#include "model/nn/step_batch.h"
#include "model/nn/workspace.h"

namespace peerage::nn {

// From the residual stream to what callers asked for: final norm, logits of the rows that need
// them (in groups, so memory stays bounded), then log-probabilities, ranks, alternatives, samples.
// Logits never leave this file.
class OutputHead {
 public:
  OutputHead(Norm norm, LinearLayer projection) : norm_(norm), projection_(std::move(projection)) {}

  struct Step {
    const StepBatch& batch;
    const StepInput& input;
    absl::Span<Sampler> samplers;  // by slot
  };
  // The spans in the result stay valid until the next call.
  StepOutput Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step);

 private:
  // Where a row's results lie in tokens_ and alternatives_.
  struct Place {
    size_t tokens = 0;
    size_t alternatives = 0;
  };
  void Lay(const StepInput& input);
  void Project(kernels::ThreadPool& pool, Workspace& workspace, const Step& step, size_t first);
  // False when the row's logits hold no distribution (NaN, or nothing finite).
  struct RowScratch {         // one thread's
    std::span<float> logits;  // [vocab]
    SamplerScratch& sampler;
  };
  bool Report(const Step& step, size_t row, std::span<float> logits, const RowScratch& scratch);
  size_t AlternativeCount(const OutputRow& row) const;

  const Norm norm_;
  const LinearLayer projection_;
  std::vector<Place> places_;
  std::vector<char> failed_;  // by output row
  std::vector<TokenScore> tokens_;
  std::vector<TokenAlternative> alternatives_;
  std::vector<RowOutput> rows_;
  std::vector<absl::Status> statuses_;
  std::vector<SamplerScratch> sampler_scratch_;  // by thread
};

}  // namespace peerage::nn
