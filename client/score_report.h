#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/message_json.h"
#include "client/token_texts.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// What was scored of one text, or of many together.
struct ScoreFigures {
  double logprob = 0;          // sum over the scored tokens
  uint64_t tokens = 0;         // all of them
  uint64_t scored_tokens = 0;  // all but those with nothing before them
  uint64_t bytes = 0;          // of the scored tokens

  void Add(const ScoreFigures& other);
  // exp(-logprob / scored_tokens); NaN when nothing was scored.
  double Perplexity() const;
  // -logprob / (ln 2 * bytes); NaN when nothing was scored.
  double BitsPerByte() const;
};

// Of one continuation. The answer tells bytes by its bits per byte; `text_bytes` are those of the
// whole continuation, for one of which the model was certain (logprob 0).
ScoreFigures FiguresOf(const v1::ContinuationScore& score, uint64_t text_bytes);

// What a line of a file was answered.
struct ScoredLine {
  size_t number = 0;
  std::vector<std::string> texts;  // of the continuations; empty for one given by ids
  v1::ScoreResponse response;
};

// {"logprob", "tokens", "scored_tokens", "perplexity", "bits_per_byte"}; null for what nothing was
// scored of.
Json FiguresJson(const ScoreFigures& figures);

// "scores": of each continuation its figures and whether greedy decoding would have written it.
Json ScoresJson(const ScoredLine& line);

// What was scored, as text: of a continuation that was given by ids.
std::string TextOf(const v1::ContinuationScore& score, const TokenTexts& texts);

// All continuations of a line together.
ScoreFigures FiguresOf(const ScoredLine& line);

// One row per continuation, and one of all together.
std::string ScoredLineTable(const std::vector<ScoredLine>& lines);

}  // namespace peerage::client
