#include "tests/support/recording_sink.h"

#include <gtest/gtest.h>

#include <utility>

namespace peerage {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);

template <typename T>
void Append(std::vector<T> from, std::vector<T>& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void RecordingSink::OnStarted(uint32_t cached_tokens) {
  absl::MutexLock lock(&mu_);
  EXPECT_FALSE(record_.started) << "OnStarted twice";
  EXPECT_FALSE(record_.status) << "OnStarted after OnDone";
  record_.started = true;
  record_.cached_tokens = cached_tokens;
}

void RecordingSink::OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  EXPECT_EQ(first_position, record_.prompt_logprobs.size()) << "a gap in the prompt";
  Append(std::move(tokens), record_.prompt_logprobs);
}

void RecordingSink::OnPicks(const TokenPicks& picks) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  EXPECT_FALSE(record_.candidates[picks.candidate].finish) << "OnPicks after OnFinished";
  for (size_t layer = 0; layer < picks.layers.size(); ++layer) {
    const auto& [ids, weights] = picks.layers[layer];
    record_.picks.push_back({.candidate = picks.candidate,
                             .first_position = picks.first_position,
                             .tokens = picks.tokens,
                             .layer = layer,
                             .ids = {ids.begin(), ids.end()},
                             .weights = {weights.begin(), weights.end()}});
  }
}

void RecordingSink::OnDelta(TokenDelta delta) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  Candidate& candidate = record_.candidates[delta.candidate];
  EXPECT_FALSE(candidate.finish) << "OnDelta after OnFinished";
  EXPECT_FALSE(delta.tokens.empty());
  candidate.text += delta.text;
  Append(std::move(delta.tokens), candidate.tokens);
  Append(std::move(delta.logprobs), candidate.logprobs);
}

void RecordingSink::OnPromptTrace(ExpertTrace trace) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  EXPECT_FALSE(record_.prompt_trace) << "OnPromptTrace twice";
  EXPECT_TRUE(record_.scores.empty()) << "OnPromptTrace after OnScore";
  record_.prompt_trace = std::move(trace);
}

void RecordingSink::OnHiddenStates(HiddenStates states) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  const std::optional<uint32_t> part = states.part;
  if (part) {
    const auto candidate = record_.candidates.find(*part);
    EXPECT_FALSE(candidate != record_.candidates.end() && candidate->second.finish)
        << "hidden states after OnFinished";
    EXPECT_EQ(record_.scores.count(*part), 0u) << "hidden states after OnScore";
  }
  EXPECT_TRUE(record_.hidden.emplace(part, std::move(states)).second) << "hidden states twice";
}

void RecordingSink::OnFinished(CandidateFinish finish) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  Candidate& candidate = record_.candidates[finish.candidate];
  EXPECT_FALSE(candidate.finish) << "OnFinished twice";
  candidate.finish = std::move(finish);
}

void RecordingSink::OnScore(ContinuationScore score) {
  absl::MutexLock lock(&mu_);
  CheckRunning();
  record_.score_traces[score.continuation] = std::move(score.trace);
  const bool first = record_.scores.emplace(score.continuation, std::move(score.tokens)).second;
  EXPECT_TRUE(first) << "OnScore twice";
}

void RecordingSink::OnDone(absl::Status status, const Timings& timings) {
  absl::MutexLock lock(&mu_);
  EXPECT_FALSE(record_.status) << "OnDone twice";
  EXPECT_TRUE(record_.started || !status.ok()) << "OK without having started";
  record_.status = std::move(status);
  record_.timings = timings;
}

bool RecordingSink::HasRoom() const {
  absl::MutexLock lock(&mu_);
  return has_room_;
}

void RecordingSink::set_has_room(bool has_room) {
  absl::MutexLock lock(&mu_);
  has_room_ = has_room;
}

RecordingSink::Record RecordingSink::record() const {
  absl::MutexLock lock(&mu_);
  return record_;
}

bool RecordingSink::done() const {
  absl::MutexLock lock(&mu_);
  return record_.status.has_value();
}

absl::Status RecordingSink::WaitDone() const {
  absl::MutexLock lock(&mu_);
  const auto is_done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return record_.status.has_value();
  };
  if (!mu_.AwaitWithTimeout(absl::Condition(&is_done), kPatience)) {
    ADD_FAILURE() << "OnDone did not come";
    return absl::UnknownError("OnDone did not come");
  }
  return *record_.status;
}

void RecordingSink::WaitTokens(size_t count) const {
  absl::MutexLock lock(&mu_);
  const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto first = record_.candidates.find(0);
    return first != record_.candidates.end() && first->second.tokens.size() >= count;
  };
  EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&enough), kPatience)) << "tokens did not come";
}

void RecordingSink::CheckRunning() const {
  EXPECT_TRUE(record_.started) << "a result before OnStarted";
  EXPECT_FALSE(record_.status) << "a result after OnDone";
}

}  // namespace peerage
