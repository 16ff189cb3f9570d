#include "client/commands/score_file.h"

#include <unistd.h>

#include <iostream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/command_line/parse.h"
#include "base/command_line/progress_bar.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "client/call_status.h"
#include "client/commands/many_calls.h"
#include "client/commands/prompt_json.h"
#include "client/commands/text_input.h"
#include "client/score_report.h"
#include "client/token_texts.h"

namespace peerage::client {
namespace {

absl::Status AddContinuation(const std::string& key, const nlohmann::json& value, ScoreItem& item) {
  ASSIGN_OR_RETURN(*item.request.add_continuations(), ContinuationOfJson(key, value));
  item.texts.push_back(item.request.continuations().rbegin()->text());
  return absl::OkStatus();
}

absl::Status AddContinuations(const nlohmann::json* list, ScoreItem& item) {
  if (list == nullptr || !list->is_array() || list->empty()) {
    return absl::InvalidArgumentError(
        "continuations must be a list of at least one text or list of token ids");
  }
  for (size_t i = 0; i < list->size(); ++i) {
    RETURN_IF_ERROR(AddContinuation(absl::StrCat("continuations[", i, "]"), (*list)[i], item));
  }
  return absl::OkStatus();
}

absl::Status ReadObject(JsonObject object, const PromptOptions& context, ScoreItem& item) {
  if (const nlohmann::json* id = object.Find("id")) item.id = *id;
  for (const char* whole : {"text", "ids"}) {
    const nlohmann::json* value = object.Find(whole);
    if (value == nullptr) continue;
    *item.request.mutable_context() = context.OfText("");
    for (const char* other : {"text", "ids", "context", "continuations"}) {
      if (other != std::string(whole) && object.Find(other) != nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat(whole, " and ", other, " exclude each other"));
      }
    }
    RETURN_IF_ERROR(object.RefuseUnreadKeys());
    return AddContinuation(whole, *value, item);
  }
  const nlohmann::json* value = object.Find("context");
  const nlohmann::json* continuations = object.Find("continuations");
  RETURN_IF_ERROR(object.RefuseUnreadKeys());
  RETURN_IF_ERROR(AddContinuations(continuations, item));
  ASSIGN_OR_RETURN(*item.request.mutable_context(),
                   context.OfJson("context", value == nullptr ? nlohmann::json("") : *value));
  return absl::OkStatus();
}

// Answers come in any order; they are printed in that of the lines.
class ScoreFilePrinter {
 public:
  ScoreFilePrinter(Client& client, const std::vector<ScoreItem>& items, ScoreFileOutput output)
      : client_(client), items_(items), output_(output) {}

  // Returns whether more answers are wanted.
  bool Take(const v1::ScoreStreamResponse& answer) {
    size_t i = 0;
    if (absl::SimpleAtoi(answer.id(), &i) && i < items_.size()) answers_.emplace(i, answer);
    for (; answers_.count(next_) > 0; ++next_) {
      const absl::Status printed = PrintAnswer(items_[next_], answers_.at(next_));
      if (!printed.ok()) status_.Update(printed);
      answers_.erase(next_);
    }
    if (isatty(STDERR_FILENO)) bar_.Show(++received_, items_.size(), TextsOf());
    return status_.ok() && std::cout.good();
  }

  absl::StatusOr<int> Finish() {
    bar_.Clear();
    RETURN_IF_ERROR(status_);
    if (next_ < items_.size() && std::cout.good()) {
      return absl::DataLossError(absl::StrCat("the server answered ", next_, " of ", items_.size(),
                                              " lines and ended the stream"));
    }
    if (!output_.json) {
      RETURN_IF_ERROR(FillTexts());
      std::cout << ScoredLineTable(lines_);
    } else {
      Json summary = {{"lines", items_.size() - failures_.size()}, {"failed", failures_.size()}};
      summary.update(FiguresJson(all_));
      std::cout << JsonLine({{"summary", summary}});
    }
    std::cout.flush();
    for (const auto& [line, failure] : failures_) PrintFailure(line, failure);
    return failures_.empty() ? 0 : kFailed;
  }

 private:
  std::string TextsOf() const { return absl::StrCat("of ", items_.size(), " lines"); }

  absl::Status PrintAnswer(const ScoreItem& item, const v1::ScoreStreamResponse& answer) {
    Json json = {{"line", item.line}};
    if (item.id.has_value()) json["id"] = *item.id;
    if (answer.has_error()) {
      failures_.emplace_back(item.line, FromRpcStatus(answer.error()));
      json["error"] = ErrorJson(failures_.back().second);
    } else {
      ScoredLine line{.number = item.line, .texts = item.texts, .response = answer.response()};
      all_.Add(FiguresOf(line));
      ASSIGN_OR_RETURN(json["scores"], Scores(item, line));
      if (!output_.json) lines_.push_back(std::move(line));
    }
    if (output_.json) std::cout << JsonLine(json) << std::flush;
    return absl::OkStatus();
  }

  // The texts of what was given by ids.
  absl::Status FillTexts() {
    std::set<uint32_t> ids;
    const auto each = [this](auto look_at) {
      for (ScoredLine& line : lines_) {
        for (size_t i = 0; i < line.texts.size(); ++i) {
          if (line.texts[i].empty()) look_at(line.texts[i], line.response.scores(i));
        }
      }
    };
    each([&ids](const std::string&, const v1::ContinuationScore& score) {
      for (const v1::TokenLogprob& token : score.tokens()) ids.insert(token.token_id());
    });
    const std::string model = items_.front().request.model();
    ASSIGN_OR_RETURN(const TokenTexts texts, TokenTexts::Read(client_, model, ids));
    each([&texts](std::string& text, const v1::ContinuationScore& score) {
      text = TextOf(score, texts);
    });
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Scores(const ScoreItem& item, const ScoredLine& line) {
    Json scores = ScoresJson(line);
    if (!output_.tokens || !output_.json) return scores;
    ASSIGN_OR_RETURN(const Json answer, AnswerJson(line.response, client_, item.request.model()));
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i]["token_logprobs"] = answer["scores"][i]["tokens"];
    }
    return scores;
  }

  Client& client_;
  const std::vector<ScoreItem>& items_;
  const ScoreFileOutput output_;
  ProgressBar bar_;
  size_t received_ = 0;
  size_t next_ = 0;
  std::map<size_t, v1::ScoreStreamResponse> answers_;  // that came before their turn
  std::vector<ScoredLine> lines_;                      // for the table
  std::vector<std::pair<size_t, absl::Status>> failures_;
  ScoreFigures all_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<ScoreItem>> ReadScoreItems(const FileOptions& file,
                                                      const PromptOptions& context) {
  ASSIGN_OR_RETURN(const std::vector<InputLine> lines,
                   ReadLines("--file", file.path(), file.format()));
  std::vector<ScoreItem> items;
  for (const InputLine& line : lines) {
    ScoreItem& item = items.emplace_back(ScoreItem{.line = line.number});
    item.request.set_model(context.model());
    if (line.object.has_value()) {
      RETURN_IF_ERROR(At(absl::StrCat("--file line ", line.number),
                         ReadObject(JsonObject(*line.object, ""), context, item)));
    } else {
      *item.request.mutable_context() = context.OfText("");
      RETURN_IF_ERROR(AddContinuation("text", line.text, item));
    }
  }
  return items;
}

absl::StatusOr<int> ScoreFile(Client& client, const std::vector<ScoreItem>& items,
                              ScoreFileOutput output) {
  ScoreFilePrinter printer(client, items, output);
  size_t next = 0;
  const auto send = [&](v1::ScoreStreamRequest& request) {
    if (next == items.size()) return false;
    request.set_id(absl::StrCat(next));
    *request.mutable_request() = items[next++].request;
    return true;
  };
  const auto take = [&](const v1::ScoreStreamResponse& answer) { return printer.Take(answer); };
  RETURN_IF_ERROR(client.ScoreStream(send, take));
  return printer.Finish();
}

}  // namespace peerage::client
