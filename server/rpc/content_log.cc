#include "server/rpc/content_log.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace peerage {
namespace {

constexpr size_t kMaxTextBytes = 2048;

// The beginning of a text, and how long all of it is.
class CutText {
 public:
  void Append(absl::string_view text) {
    bytes_ += static_cast<int64_t>(text.size());
    text_.append(text.data(), std::min(text.size(), kMaxTextBytes - text_.size()));
  }

  void WriteTo(Log& log, const std::string& request_id, absl::string_view part,
               size_t index) const {
    log.WriteLimited("content", LogLevel::kInfo, "content",
                     {{"request_id", request_id},
                      {"part", std::string(part)},
                      {"index", static_cast<int64_t>(index)},
                      {"bytes", bytes_},
                      {"text", text_}});
  }

 private:
  std::string text_;
  int64_t bytes_ = 0;
};

CutText TextOf(absl::Span<const TokenId> tokens, const Tokenizer& tokenizer) {
  CutText text;
  for (const TokenId token : tokens) text.Append(tokenizer.Bytes(token));
  return text;
}

// Gathers a generation's text on its way.
class GeneratedText final : public ResponseSink {
 public:
  GeneratedText(const GenerateRequest& request, Log* log, std::shared_ptr<ResponseSink> sink)
      : request_id_(request.origin.request_id),
        log_(log),
        sink_(std::move(sink)),
        candidates_(request.candidates) {}

  void OnStarted(uint32_t cached_tokens) override { sink_->OnStarted(cached_tokens); }
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override {
    sink_->OnPromptLogprobs(first_position, std::move(tokens));
  }
  void OnPicks(const TokenPicks& picks) override { sink_->OnPicks(picks); }
  void OnDelta(TokenDelta delta) override {
    candidates_[delta.candidate].Append(delta.text);
    sink_->OnDelta(std::move(delta));
  }
  void OnPromptTrace(ExpertTrace trace) override { sink_->OnPromptTrace(std::move(trace)); }
  void OnHiddenStates(HiddenStates states) override { sink_->OnHiddenStates(std::move(states)); }
  void OnFinished(CandidateFinish finish) override { sink_->OnFinished(std::move(finish)); }
  void OnDone(absl::Status status, const Timings& timings) override {
    for (size_t i = 0; i < candidates_.size(); ++i) {
      candidates_[i].WriteTo(*log_, request_id_, "generated", i);
    }
    sink_->OnDone(std::move(status), timings);
  }
  bool HasRoom() const override { return sink_->HasRoom(); }

 private:
  const std::string request_id_;
  Log* const log_;
  const std::shared_ptr<ResponseSink> sink_;
  std::vector<CutText> candidates_;
};

}  // namespace

std::shared_ptr<ResponseSink> LogContent(const GenerateRequest& request, const Backend& backend,
                                         std::shared_ptr<ResponseSink> sink) {
  TextOf(request.prompt, *backend.model->tokenizer)
      .WriteTo(*backend.log, request.origin.request_id, "prompt", 0);
  return std::make_shared<GeneratedText>(request, backend.log, std::move(sink));
}

std::shared_ptr<ResponseSink> LogContent(const ScoreRequest& request, const Backend& backend,
                                         std::shared_ptr<ResponseSink> sink) {
  const Tokenizer& tokenizer = *backend.model->tokenizer;
  const std::string& id = request.origin.request_id;
  TextOf(request.context, tokenizer).WriteTo(*backend.log, id, "prompt", 0);
  for (size_t i = 0; i < request.continuations.size(); ++i) {
    TextOf(request.continuations[i], tokenizer).WriteTo(*backend.log, id, "continuation", i);
  }
  return sink;
}

}  // namespace peerage
