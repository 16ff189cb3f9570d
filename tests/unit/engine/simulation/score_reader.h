#pragma once

#include <cstdint>
#include <vector>

#include "tests/unit/engine/simulation/reader.h"

namespace peerage {

// Threads: as Reader.
class ScoreReader final : public Reader {
 public:
  ScoreReader(const Arrival& arrival, const ReaderParts& parts)
      : Reader(arrival, parts),
        request_(std::get<ScoreRequest>(arrival.request)),
        delivered_(request_.continuations.size()) {}

  void OnScore(ContinuationScore score) override;

 private:
  absl::Span<const TokenId> prompt() const override { return request_.context; }
  ExpertTraceLevel trace() const override { return request_.trace; }
  bool complete() const override { return num_delivered_ == delivered_.size(); }
  void CheckCounts(const RequestEvent& event) override;

  void CheckTokens(const ContinuationScore& score);

  const ScoreRequest& request_;
  std::vector<bool> delivered_;  // [continuations]
  size_t num_delivered_ = 0;
  uint32_t scored_ = 0;
};

}  // namespace peerage
