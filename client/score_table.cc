#include "client/score_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/format.h"
#include "client/table.h"

namespace peerage::client {

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
    table.AddRow({absl::StrFormat("%.4f", score.logprob()),
                  scored == 0 ? "-" : absl::StrFormat("%.4f", score.logprob() / scored),
                  absl::StrFormat("%.4f", score.bits_per_byte()), absl::StrCat(score.tokens_size()),
                  score.is_greedy() ? "yes" : "no", text});
  }
  return table.ToString();
}

}  // namespace peerage::client
