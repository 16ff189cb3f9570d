#include "tests/support/answer.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace peerage {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(2);
constexpr const char* kKindNames[] = {"prompt token", "token", "text of token", "picks at",
                                      "finish"};

std::string BitsOf(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return absl::StrFormat("%.6g (%08x)", value, bits);
}

std::string Show(const TokenLogprob& token) {
  std::string text = absl::StrCat(token.token);
  if (token.logprob) absl::StrAppend(&text, " ", BitsOf(*token.logprob), " rank ", token.rank);
  for (const TokenAlternative& other : token.alternatives) {
    absl::StrAppend(&text, ", ", other.token, " ", BitsOf(other.logprob));
  }
  return text;
}

std::string Show(const CandidateFinish& finish) {
  return absl::StrCat("reason ", static_cast<int>(finish.reason), " stop '",
                      absl::CHexEscape(finish.stop), "' id ",
                      finish.stop_token_id ? absl::StrCat(*finish.stop_token_id) : "none",
                      " after ", finish.completion_tokens);
}

std::string Name(const AnswerPart& part) {
  return absl::StrCat(kKindNames[part.kind], " ", part.position, " of ", part.index);
}

std::string TextAt(const Answer& answer, const AnswerPart& part) {
  const auto found = answer.find(part);
  return found == answer.end() ? "nothing" : found->second;
}

}  // namespace

std::optional<std::string> FirstDifference(const Answer& expected, const Answer& actual) {
  auto [a, b] = std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end(),
                              [](const auto& x, const auto& y) {
                                return x.first.Tie() == y.first.Tie() && x.second == y.second;
                              });
  if (a == expected.end() && b == actual.end()) return std::nullopt;
  const bool expected_is_first =
      b == actual.end() || (a != expected.end() && !(b->first < a->first));
  const AnswerPart& part = expected_is_first ? a->first : b->first;
  return absl::StrCat(Name(part), ": ", TextAt(expected, part), " expected, is ",
                      TextAt(actual, part));
}

void AnswerSink::Put(AnswerPart part, std::string text) {
  std::string& place = answer_[part];
  if (!place.empty()) absl::StrAppend(&place, ", and again ");  // nothing may be told twice
  absl::StrAppend(&place, text);
}

void AnswerSink::OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {
  for (const TokenLogprob& token : tokens) {
    Put({.kind = AnswerPart::kPrompt, .position = first_position++}, Show(token));
  }
}

void AnswerSink::OnDelta(TokenDelta delta) {
  for (size_t i = 0; i < delta.tokens.size(); ++i) {
    const uint32_t position = resumed_ + received_[delta.candidate]++;
    Put({AnswerPart::kToken, delta.candidate, position},
        Show(delta.logprobs.empty() ? TokenLogprob{.token = delta.tokens[i]} : delta.logprobs[i]));
    Put({AnswerPart::kText, delta.candidate, position},
        absl::StrCat("'", absl::CHexEscape(delta.text), "'"));
    if (delta.candidate == 0) tokens_.push_back(delta.tokens[i]);
  }
}

// A trace ends at `end` in the text; what came from a cache is missing in front.
void AnswerSink::PutTrace(const ExpertTrace& trace, uint32_t index, size_t end) {
  for (size_t layer = 0; layer < trace.layers.size(); ++layer) {
    const size_t picks = expert_layers_[layer].picks_per_token();
    for (size_t i = 0; i < trace.tokens * picks; ++i) {
      const size_t position = end - trace.tokens + i / picks;
      std::string& text = answer_[{AnswerPart::kPicks, index, static_cast<uint32_t>(position)}];
      absl::StrAppend(&text, text.empty() ? "" : " ", layer, ":", trace.layers[layer].ids()[i], ":",
                      BitsOf(trace.layers[layer].weights()[i]));
    }
  }
}

void AnswerSink::OnPromptTrace(ExpertTrace trace) { PutTrace(trace, 0, prompt_tokens_); }

void AnswerSink::OnFinished(CandidateFinish finish) {
  Put({AnswerPart::kFinish, finish.candidate}, Show(finish));
  PutTrace(finish.trace, finish.candidate, prompt_tokens_ + finish.completion_tokens - 1);
}

void AnswerSink::OnScore(ContinuationScore score) {
  for (uint32_t i = 0; i < score.tokens.size(); ++i) {
    Put({AnswerPart::kToken, score.continuation, i}, Show(score.tokens[i]));
  }
  PutTrace(score.trace, score.continuation,
           prompt_tokens_ + continuations_.at(score.continuation) - 1);
}

void AnswerSink::OnDone(absl::Status status, const Timings& timings) {
  preemptions_ = timings.preemptions;
  absl::MutexLock lock(&mu_);
  status_ = std::move(status);
}

absl::Status AnswerSink::WaitDone() const {
  absl::MutexLock lock(&mu_);
  const auto is_done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return status_.has_value(); };
  if (!mu_.AwaitWithTimeout(absl::Condition(&is_done), kPatience)) {
    return absl::DeadlineExceededError("OnDone did not come");
  }
  return *status_;
}

bool AnswerSink::done() const {
  absl::MutexLock lock(&mu_);
  return status_.has_value();
}

}  // namespace peerage
