#include "client/commands/bench_dataset.h"

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "client/commands/prompt_json.h"
#include "client/commands/text_input.h"

namespace peerage::client {
namespace {

constexpr char kOption[] = "--dataset-path";

absl::StatusOr<v1::Prompt> PromptOfLine(JsonObject& object) {
  const nlohmann::json* text = object.Find("prompt");
  const nlohmann::json* messages = object.Find("messages");
  if ((text == nullptr) == (messages == nullptr)) {
    return absl::InvalidArgumentError("one of prompt and messages is needed");
  }
  if (text != nullptr) return PromptOfJson("prompt", *text);
  v1::Prompt prompt;
  ASSIGN_OR_RETURN(*prompt.mutable_chat(), ChatOfJson(*messages));
  return prompt;
}

absl::StatusOr<v1::GenerateRequest> GenerationOfLine(JsonObject object,
                                                     const v1::GenerateRequest& common,
                                                     uint32_t output_len) {
  v1::GenerateRequest request = common;
  ASSIGN_OR_RETURN(*request.mutable_prompt(), PromptOfLine(object));
  ASSIGN_OR_RETURN(const int longest,
                   object.Int("output_len", {.min = 1, .max = INT32_MAX}, output_len));
  RETURN_IF_ERROR(object.RefuseUnreadKeys());
  request.mutable_stopping()->set_max_tokens(longest);
  return request;
}

absl::StatusOr<v1::ScoreRequest> ScoreOfLine(JsonObject object, const v1::ScoreRequest& common) {
  v1::ScoreRequest request = common;
  const nlohmann::json* context = object.Find("context");
  const nlohmann::json* continuations = object.Find("continuations");
  RETURN_IF_ERROR(object.RefuseUnreadKeys());
  if (context == nullptr) return absl::InvalidArgumentError("context is missing");
  ASSIGN_OR_RETURN(*request.mutable_context(), PromptOfJson("context", *context));
  if (continuations == nullptr || !continuations->is_array() || continuations->empty()) {
    return absl::InvalidArgumentError(
        "continuations must be a list of at least one text or list of token ids");
  }
  for (size_t i = 0; i < continuations->size(); ++i) {
    const std::string key = absl::StrCat("continuations[", i, "]");
    ASSIGN_OR_RETURN(*request.add_continuations(), ContinuationOfJson(key, (*continuations)[i]));
  }
  return request;
}

template <typename Request, typename Read>
absl::StatusOr<std::vector<Request>> ReadRequests(const std::string& path, const Read& read) {
  ASSIGN_OR_RETURN(const std::vector<InputLine> lines, ReadLines(kOption, path, "jsonl"));
  std::vector<Request> requests;
  for (const InputLine& line : lines) {
    ASSIGN_OR_RETURN(Request request, At(absl::StrCat(kOption, " line ", line.number),
                                         read(JsonObject(*line.object, ""))));
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace

absl::StatusOr<Dataset> Dataset::ReadGenerations(const std::string& path,
                                                 const v1::GenerateRequest& common,
                                                 uint32_t output_len) {
  Dataset dataset;
  const auto read = [&](const JsonObject& object) {
    return GenerationOfLine(object, common, output_len);
  };
  ASSIGN_OR_RETURN(dataset.generations_, ReadRequests<v1::GenerateRequest>(path, read));
  return dataset;
}

absl::StatusOr<Dataset> Dataset::ReadScores(const std::string& path,
                                            const v1::ScoreRequest& common) {
  Dataset dataset;
  const auto read = [&](const JsonObject& object) { return ScoreOfLine(object, common); };
  ASSIGN_OR_RETURN(dataset.scores_, ReadRequests<v1::ScoreRequest>(path, read));
  return dataset;
}

v1::GenerateRequest Dataset::Generate(size_t call) const {
  v1::GenerateRequest request = generations_[call % generations_.size()];
  request.mutable_sampling()->set_seed(request.sampling().seed() + call);
  return request;
}

v1::ScoreRequest Dataset::Score(size_t call) const { return scores_[call % scores_.size()]; }

}  // namespace peerage::client
