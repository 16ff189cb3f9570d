#include "server/rpc/request/validate.h"

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/rpc/request/expert_control.h"
#include "server/rpc/request/field_errors.h"
#include "server/rpc/request/hidden_states.h"
#include "server/rpc/request/limits.h"

namespace peerage {
namespace {

constexpr absl::string_view kAlternativesRule = "must be at most 20";

// False for NaN, as every comparison with it is.
template <typename Number>
bool IsWithin(Number value, std::type_identity_t<Number> low, std::type_identity_t<Number> high) {
  return low <= value && value <= high;
}

// One request's checks. Paths are those of the fields inside it.
class Checker {
 public:
  Checker(const ServedModel& model, absl::string_view prefix) : model_(model), prefix_(prefix) {}

  void Check(const v1::GenerateRequest& request) {
    Require(request.has_prompt(), "prompt", "is required");
    if (request.has_prompt()) CheckPrompt(request.prompt(), "prompt");
    CheckSampling(request.sampling());
    CheckStopping(request.stopping());
    Require(request.output().logprobs() <= kMaxAlternatives, "output.logprobs", kAlternativesRule);
    CheckTrace(request.output().expert_trace(), "output.expert_trace");
    CheckScheduling(request.scheduling());
    CheckGenerated(request);
    CheckControl(request.expert_control());
    CheckHiddenStates(request);
  }

  // The wrapped request's paths carry the prefix, the wrapper's own field does not.
  void Check(const v1::GenerateStreamRequest& request) {
    Check(request.request());
    const bool valid = !request.has_tokens_per_message() ||
                       IsWithin(request.tokens_per_message(), 1, kMaxTokensPerMessage);
    if (!valid) errors_.Add("tokens_per_message", "must be in [1, 1024]");
  }

  void Check(const v1::ScoreRequest& request) {
    if (request.has_context()) CheckContext(request.context());
    CheckContinuations(request);
    Require(request.logprobs() <= kMaxAlternatives, "logprobs", kAlternativesRule);
    CheckTrace(request.expert_trace(), "expert_trace");
    CheckScheduling(request.scheduling());
    CheckControl(request.expert_control());
    CheckHiddenStates(request);
  }

  void Check(const v1::TokenizeRequest& request) {
    Require(request.has_prompt(), "prompt", "is required");
    if (request.has_prompt()) CheckPrompt(request.prompt(), "prompt");
  }

  void Check(const v1::DetokenizeRequest& request) {
    CheckTokenIds(request.token_ids(), "token_ids");
  }

  void Check(const v1::GetExpertUsageRequest& request) {
    Require(v1::ExpertLayerKind_IsValid(request.kind()) &&
                request.kind() != v1::EXPERT_LAYER_KIND_UNSPECIFIED,
            "kind", "must be a known ExpertLayerKind");
    CheckWindow(request.window());
  }

  void Check(const v1::WatchExpertSummaryRequest& request) {
    CheckWindow(request.window());
    if (!request.has_interval()) return;
    const auto& interval = request.interval();
    Require(IsWithin(interval.seconds(), 1, kMaxIntervalSeconds) &&
                IsWithin(interval.nanos(), 0, 999'999'999),
            "interval", "must be a valid duration of 1 second to 1 day");
  }

  absl::Status ToStatus() const { return errors_.ToStatus(); }

 private:
  void Require(bool holds, absl::string_view path, absl::string_view rule) {
    if (!holds) Add(path, rule);
  }

  void Add(absl::string_view path, absl::string_view rule) {
    errors_.Add(absl::StrCat(prefix_, path), rule);
  }

  bool IsToken(uint32_t id) const { return id < model_.description.vocabulary_size; }

  std::string TokenRule() const {
    return absl::StrCat("must be below the vocabulary size ", model_.description.vocabulary_size);
  }

  void CheckPrompt(const v1::Prompt& prompt, absl::string_view path) {
    Require(prompt.input_case() != v1::Prompt::INPUT_NOT_SET, path,
            "must have one of text, token_ids and chat");
    CheckContext(prompt, path);
  }

  void CheckTokenIds(const google::protobuf::RepeatedField<uint32_t>& ids, absl::string_view path) {
    for (int i = 0; i < ids.size() && !errors_.full(); ++i) {
      if (IsToken(ids[i])) continue;
      Add(absl::StrCat(path, "[", i, "]"), TokenRule());
    }
  }

  void CheckGenerated(const v1::GenerateRequest& request) {
    if (!request.has_generated_token_ids()) return;
    const v1::Sampling& sampling = request.sampling();
    Require(sampling.candidates() <= 1, "sampling.candidates",
            "must be 1 with generated_token_ids");
    const bool is_greedy = sampling.has_temperature() && sampling.temperature() == 0;
    Require(is_greedy || sampling.has_seed(), "sampling.seed",
            "must be the seed that the broken stream reported");
    Require(!request.output().prompt_logprobs(), "output.prompt_logprobs",
            "must not be set with generated_token_ids: they came before the first token");
    CheckTokenIds(request.generated_token_ids().ids(), "generated_token_ids.ids");
  }

  // Of either kind of request.
  template <typename Request>
  void CheckHiddenStates(const Request& request) {
    if (!request.has_hidden_states()) return;
    peerage::CheckHiddenStates(request.hidden_states(), model_.description.num_layers,
                               absl::StrCat(prefix_, "hidden_states"), errors_);
  }

  void CheckWindow(v1::UsageWindow window) {
    Require(window == v1::USAGE_WINDOW_RECENT || window == v1::USAGE_WINDOW_TOTAL, "window",
            "must be USAGE_WINDOW_RECENT or USAGE_WINDOW_TOTAL");
  }

  // Like a prompt, but nothing at all is also fine.
  void CheckContext(const v1::Prompt& prompt, absl::string_view path = "context") {
    Require(!prompt.add_bos() || model_.tokenizer->bos_id().has_value(),
            absl::StrCat(path, ".add_bos"), "must not be set: the model has no such token");
    if (prompt.has_token_ids()) {
      CheckTokenIds(prompt.token_ids().ids(), absl::StrCat(path, ".token_ids.ids"));
    }
    if (prompt.has_chat()) CheckChat(prompt.chat(), absl::StrCat(path, ".chat.messages"));
  }

  void CheckChat(const v1::Chat& chat, absl::string_view path) {
    Require(chat.messages_size() > 0, path, "must have at least one message");
    for (int i = 0; i < chat.messages_size() && !errors_.full(); ++i) {
      const std::string& role = chat.messages(i).role();
      if (role == "system" || role == "user" || role == "assistant") continue;
      Add(absl::StrCat(path, "[", i, "].role"), "must be system, user or assistant");
    }
  }

  void CheckSampling(const v1::Sampling& s) {
    Require(!s.has_temperature() || s.temperature() == 0 || IsWithin(s.temperature(), 0.01f, 10),
            "sampling.temperature", "must be 0 or in [0.01, 10]");
    Require(!s.has_top_p() || (s.top_p() > 0 && s.top_p() <= 1), "sampling.top_p",
            "must be in (0, 1]");
    Require(!s.has_min_p() || (s.min_p() >= 0 && s.min_p() < 1), "sampling.min_p",
            "must be in [0, 1)");
    Require(!s.has_candidates() || IsWithin(s.candidates(), 1, kMaxCandidates),
            "sampling.candidates", "must be in [1, 16]");
    Require(
        !s.has_repetition_penalty() || (s.repetition_penalty() > 0 && s.repetition_penalty() <= 10),
        "sampling.repetition_penalty", "must be in (0, 10]");
    Require(IsWithin(s.frequency_penalty(), -10, 10), "sampling.frequency_penalty",
            "must be in [-10, 10]");
    Require(IsWithin(s.presence_penalty(), -10, 10), "sampling.presence_penalty",
            "must be in [-10, 10]");
    CheckLogitBias(s);
  }

  void CheckLogitBias(const v1::Sampling& sampling) {
    Require(sampling.logit_bias_size() <= kMaxLogitBiases, "sampling.logit_bias",
            "must have at most 1024 entries");
    std::vector<uint32_t> ids;  // in order: a map's own order changes from run to run
    ids.reserve(sampling.logit_bias_size());
    for (const auto& [id, bias] : sampling.logit_bias()) {
      if (!IsToken(id) || !IsWithin(bias, -100, 100)) ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end());
    for (const uint32_t id : ids) {
      if (errors_.full()) return;
      Add(absl::StrCat("sampling.logit_bias[", id, "]"),
          IsToken(id) ? "must be in [-100, 100]" : TokenRule());
    }
  }

  void CheckStopping(const v1::Stopping& stopping) {
    Require(!stopping.has_max_tokens() || stopping.max_tokens() >= 1, "stopping.max_tokens",
            "must be at least 1");
    Require(!stopping.has_max_tokens() || stopping.min_tokens() <= stopping.max_tokens(),
            "stopping.min_tokens", "must be at most max_tokens");
    Require(stopping.stop_size() <= kMaxStopStrings, "stopping.stop",
            "must have at most 16 strings");
    for (int i = 0; i < stopping.stop_size() && !errors_.full(); ++i) {
      const size_t bytes = stopping.stop(i).size();
      if (bytes >= 1 && bytes <= kMaxStopBytes) continue;
      Add(absl::StrCat("stopping.stop[", i, "]"), "must have 1 to 256 bytes");
    }
    Require(stopping.stop_token_ids_size() <= kMaxStopTokenIds, "stopping.stop_token_ids",
            "must have at most 64 ids");
    CheckTokenIds(stopping.stop_token_ids(), "stopping.stop_token_ids");
  }

  void CheckTrace(v1::ExpertTraceLevel level, absl::string_view path) {
    Require(v1::ExpertTraceLevel_IsValid(level), path, "must be a known ExpertTraceLevel");
  }

  void CheckControl(const v1::ExpertControl& control) {
    CheckExpertControl(control, model_.description.expert_layers,
                       absl::StrCat(prefix_, "expert_control"), errors_);
  }

  void CheckScheduling(const v1::Scheduling& scheduling) {
    Require(IsWithin(scheduling.priority(), -100, 100), "scheduling.priority",
            "must be in [-100, 100]");
    Require(scheduling.tenant().size() <= kMaxLabelBytes, "scheduling.tenant",
            "must have at most 128 bytes");
    Require(scheduling.cache_salt().size() <= kMaxLabelBytes, "scheduling.cache_salt",
            "must have at most 128 bytes");
    if (!scheduling.has_queue_timeout()) return;
    const auto& timeout = scheduling.queue_timeout();
    const bool valid = IsWithin(timeout.seconds(), 0, kMaxDurationSeconds) &&
                       IsWithin(timeout.nanos(), 0, 999'999'999);
    Require(valid && (timeout.seconds() > 0 || timeout.nanos() > 0), "scheduling.queue_timeout",
            "must be a positive, valid duration");
  }

  void CheckContinuations(const v1::ScoreRequest& request) {
    Require(request.continuations_size() >= 1 && request.continuations_size() <= kMaxContinuations,
            "continuations", "must have 1 to 1024 entries");
    for (int i = 0; i < request.continuations_size() && !errors_.full(); ++i) {
      const v1::Continuation& continuation = request.continuations(i);
      const std::string path = absl::StrCat("continuations[", i, "]");
      Require(continuation.input_case() != v1::Continuation::INPUT_NOT_SET, path,
              "must have text or token_ids");
      if (!continuation.has_token_ids()) continue;
      Require(continuation.token_ids().ids_size() > 0, absl::StrCat(path, ".token_ids.ids"),
              "must have at least one token");
      CheckTokenIds(continuation.token_ids().ids(), absl::StrCat(path, ".token_ids.ids"));
    }
  }

  const ServedModel& model_;
  const absl::string_view prefix_;
  FieldErrors errors_;
};

template <typename Request>
absl::Status ValidateAs(const Request& request, const std::string& model_name,
                        const ServedModel& model, absl::string_view prefix) {
  RETURN_IF_ERROR(model.CheckName(model_name));
  Checker checker(model, prefix);
  checker.Check(request);
  return checker.ToStatus();
}

}  // namespace

absl::Status Validate(const v1::GenerateRequest& request, const ServedModel& model,
                      absl::string_view prefix) {
  return ValidateAs(request, request.model(), model, prefix);
}

absl::Status Validate(const v1::GenerateStreamRequest& request, const ServedModel& model) {
  return ValidateAs(request, request.request().model(), model, "request.");
}

absl::Status Validate(const v1::ScoreRequest& request, const ServedModel& model,
                      absl::string_view prefix) {
  return ValidateAs(request, request.model(), model, prefix);
}

absl::Status Validate(const v1::TokenizeRequest& request, const ServedModel& model) {
  return ValidateAs(request, request.model(), model, "");
}

absl::Status Validate(const v1::DetokenizeRequest& request, const ServedModel& model) {
  return ValidateAs(request, request.model(), model, "");
}

absl::Status Validate(const v1::GetExpertUsageRequest& request, const ServedModel& model) {
  return ValidateAs(request, request.model(), model, "");
}

absl::Status Validate(const v1::WatchExpertSummaryRequest& request, const ServedModel& model) {
  return ValidateAs(request, request.model(), model, "");
}

}  // namespace peerage
