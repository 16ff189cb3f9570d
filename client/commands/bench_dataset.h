#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/workload.h"

namespace peerage::client {

// The lines of a file, over and over, as far as calls are made. Seeds of sampling count on from the
// common one.
class Dataset : public Workload {
 public:
  // A line of JSONL asks for a generation: "prompt", a text or a list of token ids, or "messages"
  // of role and content; "output_len", else `output_len`, is the most that is generated.
  static absl::StatusOr<Dataset> ReadGenerations(const std::string& path,
                                                 const v1::GenerateRequest& common,
                                                 uint32_t output_len);
  // Or for scores: "context" and "continuations", each a text or a list of token ids.
  static absl::StatusOr<Dataset> ReadScores(const std::string& path,
                                            const v1::ScoreRequest& common);

  size_t lines() const { return generations_.size() + scores_.size(); }

  v1::GenerateRequest Generate(size_t call) const override;
  v1::ScoreRequest Score(size_t call) const override;

 private:
  std::vector<v1::GenerateRequest> generations_;
  std::vector<v1::ScoreRequest> scores_;
};

}  // namespace peerage::client
