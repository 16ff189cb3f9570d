#include "tests/unit/engine/simulation/generate_reader.h"

#include <algorithm>
#include <utility>

#include "tests/unit/engine/simulation/answers.h"

namespace peerage {
namespace {

bool IsIn(const std::vector<TokenId>& ids, TokenId token) {
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

}  // namespace

GenerateReader::GenerateReader(const Arrival& arrival, const ReaderParts& parts)
    : Reader(arrival, parts),
      request_(std::get<GenerateRequest>(arrival.request)),
      known_(request_.prompt),
      scored_past_(answers::kNothing) {
  const Candidate fresh{.past = answers::Hash(answers::kNothing, request_.prompt),
                        .detokenizer = Detokenizer(parts.tokenizer)};
  candidates_.assign(request_.candidates, fresh);
  for (TokenId token : request_.generated) {
    known_.push_back(token);
    Take(candidates_[0], token);
  }
  candidates_[0].delivered = candidates_[0].text;
}

void GenerateReader::OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {
  CheckRunning();
  Require(request_.prompt_logprobs && first_position == scored_ &&
              scored_ + tokens.size() <= request_.prompt.size(),
          "gets log-probabilities of its prompt from ", first_position, " on, after ", scored_);
  for (const TokenLogprob& score : tokens) {
    if (scored_ >= request_.prompt.size()) return;
    const TokenId token = request_.prompt[scored_];
    if (scored_++ == 0) {
      Require(score.token == token && !score.logprob, "gets a first token with something before");
    } else {
      CheckScore(score, scored_past_, token, std::max(request_.alternatives, 0));
    }
    scored_past_ = answers::Mix(scored_past_, token);
  }
  Log(100 + scored_);
}

void GenerateReader::OnPicks(const TokenPicks& picks) {
  CheckRunning();
  Require(request_.trace == ExpertTraceLevel::kFull && picks.layers.size() == 1 &&
              picks.layers[0].ids.size() == picks.tokens * answers::kExperts.top_k,
          "gets picks that it did not ask for");
  Require(!candidates_[picks.candidate].finished, "gets picks after its finish");
}

void GenerateReader::OnDelta(TokenDelta delta) {
  CheckRunning();
  Require(delta.candidate < candidates_.size() && delta.tokens.size() == 1, "gets an odd delta");
  if (!parts_.verdict->ok()) return;
  Candidate& candidate = candidates_[delta.candidate];
  Require(!candidate.finished && !candidate.due, "gets a token after its last one");
  const TokenId token = delta.tokens[0];
  const TokenId expected =
      answers::Draw(candidate.past, request_.sampling, delta.candidate, candidate.tokens.size());
  Require(token == expected, "candidate ", delta.candidate, " gets token ", token, " instead of ",
          expected, " after ", candidate.tokens.size());
  Require(delta.logprobs.size() == (request_.alternatives >= 0 ? 1 : 0), "gets odd logprobs");
  if (!parts_.verdict->ok()) return;
  if (request_.alternatives >= 0) {
    CheckScore(delta.logprobs[0], candidate.past, token, request_.alternatives);
  }
  const auto resumed = request_.generated.size();
  parts_.ledger->candidates_begun += candidate.tokens.size() == resumed;
  ++parts_.ledger->generated;
  ++generated_;
  MarkWholePrompt();
  Take(candidate, token);
  candidate.delivered += delta.text;
  Log(200 + token + (delta.candidate << 8));
}

void GenerateReader::Take(Candidate& candidate, TokenId token) {
  const StoppingRules& rules = request_.stopping;
  candidate.tokens.push_back(token);
  candidate.past = answers::Mix(candidate.past, token);
  if (IsIn(rules.end_ids, token)) {
    candidate.due = FinishReason::kEndOfSequence;
  } else if (IsIn(rules.stop_token_ids, token)) {
    candidate.due = FinishReason::kStop;
  } else if (candidate.tokens.size() >= rules.max_tokens) {
    candidate.due = FinishReason::kLength;
  }
  const size_t old_size = candidate.text.size();
  candidate.text += candidate.detokenizer.Append(token);
  if (candidate.due) candidate.text += candidate.detokenizer.Flush();
  if (!rules.stop.empty()) FindStop(candidate, old_size);
}

// The stop string that ends first, the longest of those, in what the last token brought.
void GenerateReader::FindStop(Candidate& candidate, size_t old_size) {
  size_t first_end = std::string::npos;
  for (const std::string& stop : request_.stopping.stop) {
    const size_t begin = candidate.text.find(stop, old_size - std::min(old_size, stop.size() - 1));
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end > first_end || (end == first_end && stop.size() < candidate.stop.size())) continue;
    first_end = end;
    candidate.stop = stop;
  }
  if (first_end == std::string::npos) return;
  candidate.due = FinishReason::kStop;
  candidate.text.resize(first_end - candidate.stop.size());
}

void GenerateReader::OnFinished(CandidateFinish finish) {
  CheckRunning();
  Require(finish.candidate < candidates_.size(), "finishes a candidate that it has not");
  if (!parts_.verdict->ok()) return;
  Candidate& candidate = candidates_[finish.candidate];
  Require(!std::exchange(candidate.finished, true), "finishes twice");
  Require(candidate.due == finish.reason, "finishes for a wrong reason");
  Require(finish.stop == candidate.stop, "stops at '", finish.stop, "'");
  Require(finish.completion_tokens == candidate.tokens.size(), "finishes with ",
          finish.completion_tokens, " tokens of ", candidate.tokens.size());
  Require(candidate.delivered == candidate.text, "gets the text '", candidate.delivered,
          "' instead of '", candidate.text, "'");
  CheckPromptTraceCame();
  if (request_.trace == ExpertTraceLevel::kFull && parts_.verdict->ok()) {
    // The last token is not computed, nor is what was cached of those that it was given.
    const size_t end = request_.is_over ? 0 : candidate.tokens.size() - 1;
    const size_t begin = std::min(cached() - cached_of_prompt(), end);
    CheckTrace(finish.trace, absl::MakeConstSpan(candidate.tokens).subspan(begin, end - begin),
               request_.prompt.size() + begin);
  }
  ++finished_[static_cast<size_t>(finish.reason)];
  Log(300 + static_cast<uint64_t>(finish.reason));
}

bool GenerateReader::complete() const {
  const auto finished = [](const Candidate& candidate) { return candidate.finished; };
  const bool scored =
      !request_.prompt_logprobs || scored_ == request_.prompt.size() || request_.is_over;
  return scored && std::all_of(candidates_.begin(), candidates_.end(), finished);
}

void GenerateReader::CheckCounts(const RequestEvent& event) {
  Require(event.kind == RequestKind::kGenerate && event.completion_tokens == generated_,
          "is billed for ", event.completion_tokens, " generated tokens of ", generated_);
  Require(event.finished_candidates == finished_, "has other finished candidates");
  const uint32_t finished = finished_[0] + finished_[1] + finished_[2];
  Require(event.unfinished_candidates == request_.candidates - finished, "has ",
          event.unfinished_candidates, " unfinished candidates");
}

}  // namespace peerage
