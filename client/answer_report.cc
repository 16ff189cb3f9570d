#include "client/answer_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/expert_report.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

std::string DescribeFinish(const v1::Finish& finish) {
  switch (finish.reason()) {
    case v1::FINISH_REASON_END_OF_SEQUENCE:
      return "end of sequence";
    case v1::FINISH_REASON_STOP:
      return finish.has_stop() ? absl::StrCat("stop ", QuoteText(finish.stop()))
                               : absl::StrCat("stop token ", finish.stop_token_id());
    case v1::FINISH_REASON_LENGTH:
      return "cut off at --max-tokens";
    default:
      return "unknown reason";
  }
}

std::string Alternatives(const v1::TokenLogprob& token, const TokenTexts& texts) {
  std::string text;
  const int count = std::min(token.alternative_ids_size(), token.alternative_logprobs_size());
  for (int i = 0; i < count; ++i) {
    const uint32_t id = token.alternative_ids(i);
    absl::StrAppendFormat(&text, "%s%d %s %.4f", i == 0 ? "" : ", ", id, QuoteText(texts.Of(id)),
                          token.alternative_logprobs(i));
  }
  return text;
}

// The table whose rows are a number and TokenCells().
Table TokenTable(const std::string& numbered) {
  using Align = Table::Align;
  return Table({{numbered, Align::kRight},
                {"token", Align::kRight},
                {"text"},
                {"logprob", Align::kRight},
                {"rank", Align::kRight},
                {"alternatives"}});
}

void AddRow(size_t number, const v1::TokenLogprob& token, const TokenTexts& texts, Table& table) {
  std::vector<std::string> cells = TokenCells(token, texts);
  cells.insert(cells.begin(), absl::StrCat(number));
  table.AddRow(std::move(cells));
}

}  // namespace

std::vector<std::string> TokenCells(const v1::TokenLogprob& token, const TokenTexts& texts) {
  return {absl::StrCat(token.token_id()), QuoteText(texts.Of(token.token_id())),
          token.has_logprob() ? absl::StrFormat("%.4f", token.logprob()) : "-",
          token.has_logprob() ? absl::StrCat(token.rank()) : "-", Alternatives(token, texts)};
}

GenerationReport::Candidate& GenerationReport::candidate(uint32_t index) {
  // The server promises indices below the candidates asked for; do not let it choose our memory.
  index = std::min(index, candidates_ == 0 ? 0 : candidates_ - 1);
  if (received_.size() <= index) received_.resize(index + 1);
  return received_[index];
}

std::string GenerationReport::Add(const v1::GenerateStreamResponse& event) {
  if (event.has_started()) {
    prompt_tokens_ = event.started().prompt_tokens();
    cached_tokens_ = event.started().cached_prompt_tokens();
  }
  if (event.has_delta()) {
    const v1::Delta& delta = event.delta();
    Candidate& receiver = candidate(delta.index());
    receiver.text += delta.text();
    receiver.logprobs.insert(receiver.logprobs.end(), delta.logprobs().begin(),
                             delta.logprobs().end());
    if (candidates_ > 1 || delta.text().empty()) return "";
    line_open_ = delta.text().back() != '\n';
    return delta.text();
  }
  if (event.has_finished()) {
    Candidate& receiver = candidate(event.finished().index());
    receiver.finished = event.finished();
    if (candidates_ > 1) {
      return absl::StrCat("[", event.finished().index(), "] ", receiver.text, "\n");
    }
  }
  return "";
}

std::string GenerationReport::End() const { return line_open_ ? "\n" : ""; }

std::string GenerationReport::LogprobTable(const TokenTexts& texts) const {
  Table table = TokenTable("candidate");
  for (size_t i = 0; i < received_.size(); ++i) {
    for (const v1::TokenLogprob& token : received_[i].logprobs) AddRow(i, token, texts, table);
  }
  return table.ToString();
}

std::set<uint32_t> GenerationReport::TokenIds() const {
  std::set<uint32_t> ids;
  for (const Candidate& candidate : received_) {
    for (const v1::TokenLogprob& token : candidate.logprobs) {
      ids.insert(token.token_id());
      ids.insert(token.alternative_ids().begin(), token.alternative_ids().end());
    }
  }
  return ids;
}

std::string GenerationReport::ExpertTraces(const ExpertNames& names) const {
  std::string lines;
  for (size_t i = 0; i < received_.size(); ++i) {
    const std::string trace = ExpertTraceLines(received_[i].finished.expert_trace(), names);
    if (candidates_ > 1 && !trace.empty()) absl::StrAppend(&lines, "[", i, "]\n");
    lines += trace;
  }
  return lines;
}

google::protobuf::RepeatedPtrField<v1::HiddenStates> GenerationReport::HiddenStates() const {
  google::protobuf::RepeatedPtrField<v1::HiddenStates> states;
  for (const Candidate& candidate : received_) {
    states.MergeFrom(candidate.finished.hidden_states());
  }
  return states;
}

std::string GenerationReport::Summary() const {
  uint32_t tokens = 0;
  double rate = 0;
  std::string reasons;
  absl::Duration first_token;
  for (const Candidate& candidate : received_) {
    const v1::Finished& finished = candidate.finished;
    const uint32_t count = finished.usage().completion_tokens();
    tokens += count;
    // The first token belongs to the prefill.
    const double decode = absl::ToDoubleSeconds(ToDuration(finished.timings().decode()));
    if (count > 1 && decode > 0) rate += (count - 1) / decode;
    first_token = ToDuration(finished.timings().time_to_first_token());
    absl::StrAppend(&reasons, reasons.empty() ? "" : ", ", DescribeFinish(finished.finish()));
  }
  return absl::StrFormat(
      "%d prompt%s + %d new tokens, first after %s, then %.1f tokens/s; ended: %s\n",
      prompt_tokens_, cached_tokens_ > 0 ? absl::StrCat(" (", cached_tokens_, " cached)") : "",
      tokens, FormatInterval(first_token), rate, reasons);
}

std::string ScoreTable(const v1::ScoreResponse& response, const std::vector<std::string>& texts) {
  using Align = Table::Align;
  Table table({{"logprob", Align::kRight},
               {"per token", Align::kRight},
               {"bits/byte", Align::kRight},
               {"tokens", Align::kRight},
               {"greedy"},
               {"text"}});
  for (int i = 0; i < response.scores_size(); ++i) {
    const v1::ContinuationScore& score = response.scores(i);
    const auto scored = std::count_if(score.tokens().begin(), score.tokens().end(),
                                      [](const auto& token) { return token.has_logprob(); });
    const std::string text = static_cast<size_t>(i) < texts.size() ? QuoteText(texts[i]) : "";
    table.AddRow({scored == 0 ? "-" : absl::StrFormat("%.4f", score.logprob()),
                  scored == 0 ? "-" : absl::StrFormat("%.4f", score.logprob() / scored),
                  scored == 0 ? "-" : absl::StrFormat("%.4f", score.bits_per_byte()),
                  absl::StrCat(score.tokens_size()),
                  scored == 0         ? "-"
                  : score.is_greedy() ? "yes"
                                      : "no",
                  text});
  }
  return table.ToString();
}

std::string ScoredTokenTable(const v1::ScoreResponse& response, const TokenTexts& texts) {
  Table table = TokenTable("continuation");
  for (int i = 0; i < response.scores_size(); ++i) {
    for (const v1::TokenLogprob& token : response.scores(i).tokens()) {
      AddRow(i, token, texts, table);
    }
  }
  return table.ToString();
}

}  // namespace peerage::client
