#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/choice.h"
#include "model/experts/expert_usage.h"

namespace peerage {

// What a request wants to know of the experts it uses: nothing, sums, or every pick.
enum class ExpertTraceLevel { kNone, kSummary, kFull };

inline constexpr Choice<ExpertTraceLevel> kExpertTraceLevels[] = {
    {"none", ExpertTraceLevel::kNone},
    {"summary", ExpertTraceLevel::kSummary},
    {"full", ExpertTraceLevel::kFull}};

// How often a request picked an expert of a layer, and with which weight altogether.
struct ExpertTally {
  uint32_t expert = 0;
  uint32_t selections = 0;
  uint64_t score = 0;  // in ExpertCount::kUnit
};

// What consecutive tokens picked in one expert layer. For sums alone, many picks become few
// tallies: memory is bounded by the number of different experts, whatever the number of tokens.
//
// Threads: none.
class PickLog {
 public:
  // Up to so many picks, and up to as many as there are tallies, are kept as they came: appending
  // costs a copy, and sorting is left to whoever reads the log.
  static constexpr size_t kMaxLoosePicks = 1 << 13;

  // `keep_all`: for the level kFull.
  explicit PickLog(bool keep_all) : keep_all_(keep_all) {}

  void Append(const ExpertPicks& picks);

  // Every pick in order. Precondition: all are kept.
  absl::Span<const uint32_t> ids() const { return ids_; }
  absl::Span<const float> weights() const { return weights_; }

  // In ascending order of experts.
  std::vector<ExpertTally> Tallies() const;

 private:
  bool keep_all_;
  // The picks that are not in tallies_ yet.
  std::vector<uint32_t> ids_;
  std::vector<float> weights_;
  std::vector<ExpertTally> tallies_;  // in ascending order of experts
};

// Sums two lists of tallies, each in ascending order of experts.
std::vector<ExpertTally> MergeTallies(absl::Span<const ExpertTally> a,
                                      absl::Span<const ExpertTally> b);

// The experts that a part of a request picked: its prompt, a candidate, a continuation.
struct ExpertTrace {
  uint32_t tokens = 0;
  std::vector<PickLog> layers;  // [the model's expert layers]; none when nothing is traced
};

// Bytes that a running request's sums of these layers take, however many parts it has, while they
// have no more than kMaxLoosePicks experts: the logs of its prompt and of a part, and the sums of
// the parts that are complete. A branch more takes another log, but is a sequence of its own.
uint64_t TraceBytes(absl::Span<const ExpertLayer> layers);

}  // namespace peerage
