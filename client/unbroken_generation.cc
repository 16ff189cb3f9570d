#include "client/unbroken_generation.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/status_macros.h"
#include "client/call_status.h"

namespace peerage::client {
namespace {

using OnEvent = absl::FunctionRef<bool(const v1::GenerateStreamResponse&)>;

// What came of a generation, and what asks for the rest.
class Generation {
 public:
  explicit Generation(const v1::GenerateStreamRequest& request) : rest_(request) {}

  const v1::GenerateStreamRequest& rest() const { return rest_; }
  int tokens() const { return rest_.request().generated_token_ids().ids_size(); }
  bool CanGoOn() const { return started_ && started_->sampling().candidates() == 1; }

  // Hands on what is new. False when the receiver wants no more, or the server is another one.
  bool Take(v1::GenerateStreamResponse event, OnEvent on_event) {
    if (event.has_started()) return TakeStarted(event, on_event);
    if (event.has_prompt_logprobs()) return TakePrompt(*event.mutable_prompt_logprobs(), on_event);
    if (event.has_delta()) {
      // They came before the first token, and are refused after it.
      if (rest_.request().has_output()) {
        rest_.mutable_request()->mutable_output()->clear_prompt_logprobs();
      }
      const auto& ids = event.delta().token_ids();
      rest_.mutable_request()->mutable_generated_token_ids()->mutable_ids()->Add(ids.begin(),
                                                                                 ids.end());
    }
    return on_event(event);
  }

  // Why the generation cannot be what it was; OK while it is.
  const absl::Status& problem() const { return problem_; }

 private:
  bool TakeStarted(const v1::GenerateStreamResponse& event, OnEvent on_event) {
    const v1::Started& started = event.started();
    if (!started_) {
      started_ = started;
      rest_.mutable_request()->mutable_sampling()->set_seed(started.sampling().seed());
      return on_event(event);
    }
    if (started.model().fingerprint() == started_->model().fingerprint()) return true;
    problem_ =
        absl::FailedPreconditionError("the stream broke, and the server now has other weights");
    return false;
  }

  // Before the first token, a stream that goes on begins with the prompt again.
  bool TakePrompt(v1::PromptLogprobs& prompt, OnEvent on_event) {
    const int known =
        std::min<int>(std::max<int64_t>(int64_t{prompt_positions_} - prompt.first_position(), 0),
                      prompt.tokens_size());
    if (known > 0 && known == prompt.tokens_size()) return true;
    prompt.mutable_tokens()->DeleteSubrange(0, known);
    prompt.set_first_position(prompt.first_position() + known);
    prompt_positions_ = prompt.first_position() + prompt.tokens_size();
    v1::GenerateStreamResponse event;
    *event.mutable_prompt_logprobs() = prompt;
    return on_event(event);
  }

  v1::GenerateStreamRequest rest_;
  std::optional<v1::Started> started_;
  uint32_t prompt_positions_ = 0;  // whose log-probabilities came
  absl::Status problem_;
};

// A server that is asked for the rest may be gone, or be busy for now.
bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || RetryDelay(status).has_value();
}

}  // namespace

absl::Status GenerateUnbroken(Client& client, const v1::GenerateStreamRequest& request,
                              const ResumeOptions& options, OnEvent on_event) {
  const absl::Time deadline = client.NewDeadline();
  Generation generation(request);
  absl::Duration delay = options.first_delay;
  for (int retries = 0;; ++retries) {
    const int tokens = generation.tokens();
    // A copy: what is left to ask for changes while the answer comes.
    const absl::Status status = client.GenerateStream(
        v1::GenerateStreamRequest(generation.rest()),
        [&](const v1::GenerateStreamResponse& event) { return generation.Take(event, on_event); },
        deadline);
    RETURN_IF_ERROR(generation.problem());
    if (status.ok() || !generation.CanGoOn() || !MayPass(status)) return status;
    if (generation.tokens() > tokens) {
      retries = 0;
      delay = options.first_delay;
    }
    if (retries >= options.retries) return status;
    const absl::Duration wait = RetryDelay(status).value_or(delay);
    if (absl::Now() + wait >= deadline) return status;
    if (options.on_break) options.on_break(status, wait);
    if (!client.Sleep(wait)) return absl::CancelledError("cancelled");
    delay *= 2;
  }
}

}  // namespace peerage::client
