#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/detokenizer.h"
#include "tests/unit/engine/simulation/reader.h"

namespace peerage {

// Threads: as Reader.
class GenerateReader final : public Reader {
 public:
  GenerateReader(const Arrival& arrival, const ReaderParts& parts);

  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnPicks(const TokenPicks& picks) override;
  void OnDelta(TokenDelta delta) override;
  void OnFinished(CandidateFinish finish) override;

 private:
  struct Candidate {
    uint64_t past = 0;            // the hash of prompt and generated tokens
    std::vector<TokenId> tokens;  // generated, those of before included
    bool finished = false;
    std::optional<FinishReason> due;  // the last token ends it
    std::string stop;                 // that it contains
    Detokenizer detokenizer;
    std::string text;       // with its last token, uncut
    std::string delivered;  // of it
  };

  absl::Span<const TokenId> prompt() const override { return request_.prompt; }
  absl::Span<const TokenId> known() const override { return known_; }
  absl::Span<const TokenId> traced_prompt() const override {
    return request_.is_over ? absl::Span<const TokenId>() : prompt();  // nothing is computed
  }
  ExpertTraceLevel trace() const override { return request_.trace; }
  bool complete() const override;
  void CheckCounts(const RequestEvent& event) override;

  void Take(Candidate& candidate, TokenId token);
  void FindStop(Candidate& candidate, size_t old_size);

  const GenerateRequest& request_;
  std::vector<TokenId> known_;
  std::vector<Candidate> candidates_;
  uint32_t generated_ = 0;
  std::array<uint32_t, 3> finished_ = {};  // by FinishReason
  size_t scored_ = 0;                      // tokens of the prompt
  uint64_t scored_past_;                   // the hash of them
};

}  // namespace peerage
