#include "client/score_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/number_text.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kShownCharacters = 48;

// JSON has no NaN.
Json Number(double number) { return std::isfinite(number) ? Json(number) : Json(nullptr); }

std::string Cell(double number) {
  return std::isfinite(number) ? absl::StrFormat("%.4f", number) : "-";
}

std::string Text(const ScoredLine& line, int i) {
  return static_cast<size_t>(i) < line.texts.size() ? line.texts[i] : "";
}

// The beginning of a text in quotes, cut between characters.
std::string Beginning(const std::string& text) {
  size_t end = std::min(text.size(), kShownCharacters);
  while (end < text.size() && (text[end] & 0xC0) == 0x80) --end;
  return QuoteText(text.substr(0, end)) + (end < text.size() ? "..." : "");
}

void AddFigures(std::vector<std::string> cells, const ScoreFigures& figures, Table& table) {
  cells.insert(cells.begin() + 1,
               {Cell(figures.scored_tokens == 0 ? kNothing : figures.logprob),
                Cell(figures.Perplexity()), Cell(figures.BitsPerByte()),
                FormatWhole(figures.tokens), FormatWhole(figures.scored_tokens)});
  table.AddRow(std::move(cells));
}

}  // namespace

void ScoreFigures::Add(const ScoreFigures& other) {
  logprob += other.logprob;
  tokens += other.tokens;
  scored_tokens += other.scored_tokens;
  bytes += other.bytes;
}

double ScoreFigures::Perplexity() const {
  return scored_tokens == 0 ? kNothing : std::exp(-logprob / static_cast<double>(scored_tokens));
}

double ScoreFigures::BitsPerByte() const {
  return bytes == 0 ? kNothing : -logprob / (std::log(2.0) * static_cast<double>(bytes));
}

ScoreFigures FiguresOf(const v1::ContinuationScore& score, uint64_t text_bytes) {
  ScoreFigures figures{.logprob = score.logprob(),
                       .tokens = static_cast<uint64_t>(score.tokens_size())};
  figures.scored_tokens =
      std::count_if(score.tokens().begin(), score.tokens().end(),
                    [](const v1::TokenLogprob& token) { return token.has_logprob(); });
  if (score.bits_per_byte() > 0) {
    figures.bytes = std::llround(-score.logprob() / (std::log(2.0) * score.bits_per_byte()));
  } else if (figures.scored_tokens == figures.tokens) {
    figures.bytes = text_bytes;
  }
  return figures;
}

std::string TextOf(const v1::ContinuationScore& score, const TokenTexts& texts) {
  std::string text;
  for (const v1::TokenLogprob& token : score.tokens()) text += texts.Of(token.token_id());
  return text;
}

ScoreFigures FiguresOf(const ScoredLine& line) {
  ScoreFigures all;
  for (int i = 0; i < line.response.scores_size(); ++i) {
    all.Add(FiguresOf(line.response.scores(i), Text(line, i).size()));
  }
  return all;
}

Json FiguresJson(const ScoreFigures& figures) {
  return {{"logprob", figures.logprob},
          {"tokens", figures.tokens},
          {"scored_tokens", figures.scored_tokens},
          {"perplexity", Number(figures.Perplexity())},
          {"bits_per_byte", Number(figures.BitsPerByte())}};
}

Json ScoresJson(const ScoredLine& line) {
  Json scores = Json::array();
  for (int i = 0; i < line.response.scores_size(); ++i) {
    const v1::ContinuationScore& score = line.response.scores(i);
    Json& json = scores.emplace_back(FiguresJson(FiguresOf(score, Text(line, i).size())));
    json["is_greedy"] = score.is_greedy();
  }
  return scores;
}

std::string ScoredLineTable(const std::vector<ScoredLine>& lines) {
  using Align = Table::Align;
  Table table({{"line", Align::kRight},
               {"logprob", Align::kRight},
               {"perplexity", Align::kRight},
               {"bits/byte", Align::kRight},
               {"tokens", Align::kRight},
               {"scored", Align::kRight},
               {"greedy"},
               {"text"}});
  ScoreFigures all;
  for (const ScoredLine& line : lines) {
    for (int i = 0; i < line.response.scores_size(); ++i) {
      const v1::ContinuationScore& score = line.response.scores(i);
      AddFigures(
          {absl::StrCat(line.number), score.is_greedy() ? "yes" : "no", Beginning(Text(line, i))},
          FiguresOf(score, Text(line, i).size()), table);
    }
    all.Add(FiguresOf(line));
  }
  AddFigures({"all", "", ""}, all, table);
  return table.ToString();
}

}  // namespace peerage::client
