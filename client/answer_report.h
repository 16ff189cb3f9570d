#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "client/expert_layers.h"
#include "client/token_texts.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// Turns the messages of one GenerateStream call into what a terminal shows: one candidate's text as
// it comes, several candidates one after the other as they end.
class GenerationReport {
 public:
  explicit GenerationReport(uint32_t candidates) : candidates_(candidates) {}

  // What to print now.
  std::string Add(const v1::GenerateStreamResponse& event);

  // What completes the text when the call is over, however it ended.
  std::string End() const;

  // One row per sampled token, for calls that asked for log-probabilities; the texts are those of
  // TokenIds().
  std::string LogprobTable(const TokenTexts& texts) const;
  std::set<uint32_t> TokenIds() const;

  // Which experts each candidate used, the prompt with the first that ended; empty when that was
  // not asked for.
  std::string ExpertTraces(const ExpertNames& names = {}) const;

  // Of the prompt and every candidate, when they were asked for.
  google::protobuf::RepeatedPtrField<v1::HiddenStates> HiddenStates() const;

  // One line: tokens, time to first token, speed, and why it ended.
  std::string Summary() const;

 private:
  struct Candidate {
    std::string text;
    std::vector<v1::TokenLogprob> logprobs;
    v1::Finished finished;
  };

  Candidate& candidate(uint32_t index);

  const uint32_t candidates_;
  uint32_t prompt_tokens_ = 0;
  uint32_t cached_tokens_ = 0;  // of them
  bool line_open_ = false;
  std::vector<Candidate> received_;  // by index
};

// Of each token its id, text, log-probability, rank and alternatives, as columns of a table that
// may have others in front.
std::vector<std::string> TokenCells(const v1::TokenLogprob& token, const TokenTexts& texts);

// What a terminal shows of a Score call, one row per continuation: the log-probability of the
// whole, per scored token, bits per byte, whether greedy decoding would have written it, and its
// text.
std::string ScoreTable(const v1::ScoreResponse& response, const std::vector<std::string>& texts);

// One row per token of the continuations.
std::string ScoredTokenTable(const v1::ScoreResponse& response, const TokenTexts& texts);

}  // namespace peerage::client
