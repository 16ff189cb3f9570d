#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "model/language_model.h"
#include "server/engine/request.h"
#include "tests/support/answer.h"
#include "tests/support/needle_models.h"

namespace peerage {

// A request that comes to an engine at one of its first worker's turns, and may be cancelled at
// another.
struct Arrival {
  std::variant<GenerateRequest, ScoreRequest> request;
  int turn = 0;
  std::optional<int> cancelled_at = {};
};

// What an engine went through.
struct StepTally {
  uint64_t steps = 0;
  uint64_t mixed_steps = 0;             // with prompts beside decodes
  int most_sequences = 0;               // of one step
  std::array<uint64_t, 4> crowds = {};  // by the number of workers, each of which served a part
  uint64_t cached_tokens = 0;           // of needles, as the next
  uint64_t preemptions = 0;
};

struct Served {
  absl::Status status;
  Answer answer;
  std::vector<TokenId> tokens;  // generated, of candidate 0
  uint32_t cached_tokens = 0;   // AnswerSink's, as the next
  uint32_t preemptions = 0;
};

// Serves all of them with one engine on a fake clock; what comes of each, in their order. What
// comes when is decided on the first worker's thread, so the same arrivals give the same steps,
// which `tally`, if there is one, adds up. Of several workers, the others go at their own pace.
std::vector<Served> Serve(std::vector<std::unique_ptr<LanguageModel>> models,
                          const EngineShape& shape, const std::vector<Arrival>& arrivals,
                          StepTally* tally = nullptr);

}  // namespace peerage
