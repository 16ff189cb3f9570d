#include "server/rpc/request/read_request.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/candidate.h"
#include "server/rpc/request/answer_size.h"
#include "server/rpc/request/expert_control.h"
#include "server/rpc/request/field_errors.h"
#include "server/rpc/request/hidden_states.h"
#include "server/rpc/request/limits.h"
#include "server/rpc/request/prompt.h"
#include "server/rpc/request/validate.h"

namespace peerage {
namespace {

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

SchedulingParams ConvertScheduling(const v1::Scheduling& scheduling, const Call& call) {
  SchedulingParams params;
  params.priority = scheduling.priority();
  params.tenant = scheduling.tenant();
  params.host = call.host;
  params.cache_salt = scheduling.cache_salt();
  params.arrival = call.arrival;
  params.deadline = call.deadline;
  if (scheduling.has_queue_timeout()) {
    params.queue_deadline = call.arrival + absl::Seconds(scheduling.queue_timeout().seconds()) +
                            absl::Nanoseconds(scheduling.queue_timeout().nanos());
  }
  return params;
}

ExpertTraceLevel ConvertTrace(v1::ExpertTraceLevel level) {
  if (level == v1::EXPERT_TRACE_LEVEL_FULL) return ExpertTraceLevel::kFull;
  if (level == v1::EXPERT_TRACE_LEVEL_SUMMARY) return ExpertTraceLevel::kSummary;
  return ExpertTraceLevel::kNone;
}

SamplingParams ConvertSampling(const v1::Sampling& sampling) {
  SamplingParams params;
  if (sampling.has_temperature()) params.temperature = sampling.temperature();
  if (sampling.has_top_p()) params.top_p = sampling.top_p();
  if (sampling.has_repetition_penalty()) params.repetition_penalty = sampling.repetition_penalty();
  params.top_k = sampling.top_k();
  params.min_p = sampling.min_p();
  params.frequency_penalty = sampling.frequency_penalty();
  params.presence_penalty = sampling.presence_penalty();
  params.seed = sampling.has_seed() ? sampling.seed() : DrawSeed();
  params.logit_bias.assign(sampling.logit_bias().begin(), sampling.logit_bias().end());
  std::sort(params.logit_bias.begin(), params.logit_bias.end());
  return params;
}

absl::Status TooLong(absl::string_view what, absl::string_view tokens, const ServedModel& model) {
  return absl::OutOfRangeError(absl::StrCat(what, " ", tokens, " tokens, the context of the model ",
                                            model.description.context_length));
}

absl::Status TooLong(absl::string_view what, uint64_t tokens, const ServedModel& model) {
  return TooLong(what, absl::StrCat("have ", tokens), model);
}

// Of a text: nobody has counted on from there.
absl::Status CheckLength(absl::string_view path, const std::vector<TokenId>& tokens,
                         const ServedModel& model) {
  const uint32_t context = model.description.context_length;
  if (tokens.size() <= context) return absl::OkStatus();
  return TooLong(path, absl::StrCat("has more than ", context), model);
}

absl::StatusOr<uint32_t> ResolveMaxTokens(const v1::Stopping& stopping, uint64_t prompt_tokens,
                                          const ServedModel& model) {
  const uint64_t context = model.description.context_length;
  if (stopping.has_max_tokens()) {
    const uint64_t total = prompt_tokens + stopping.max_tokens();
    if (total > context) return TooLong("prompt and max_tokens", total, model);
    return stopping.max_tokens();
  }
  if (prompt_tokens >= context) {
    return TooLong("prompt and one generated token", prompt_tokens + 1, model);
  }
  return std::min<uint64_t>(kDefaultMaxTokens, context - prompt_tokens);
}

StoppingRules ConvertStopping(const v1::Stopping& stopping, const Tokenizer& tokenizer) {
  StoppingRules rules;
  rules.min_tokens = stopping.min_tokens();
  rules.stop.assign(stopping.stop().begin(), stopping.stop().end());
  rules.stop_token_ids.assign(stopping.stop_token_ids().begin(), stopping.stop_token_ids().end());
  if (!stopping.ignore_eos()) {
    rules.end_ids.assign(tokenizer.eos_ids().begin(), tokenizer.eos_ids().end());
  }
  return rules;
}

// Before min_tokens nothing that would end the generation can be sampled.
void MaskEndings(const StoppingRules& rules, SamplingParams& sampling) {
  if (rules.min_tokens == 0) return;
  sampling.min_tokens = rules.min_tokens;
  sampling.masked_ids = rules.end_ids;
  sampling.masked_ids.insert(sampling.masked_ids.end(), rules.stop_token_ids.begin(),
                             rules.stop_token_ids.end());
}

// What several candidates compute beside their prompt, each decides for itself.
uint64_t ForcibleTokens(const GenerateRequest& request) {
  return request.candidates > 1 ? request.prompt.size() : ComputedTokens(request);
}

// Whether what was generated before ends the text, with its last token. Nothing else may.
absl::StatusOr<bool> IsOver(const GenerateRequest& request, const Tokenizer& tokenizer,
                            const std::string& path) {
  Candidate candidate(0, &request.stopping, &tokenizer);
  for (size_t i = 0; i < request.generated.size(); ++i) {
    if (!candidate.Resume(request.generated[i])) continue;
    if (i + 1 == request.generated.size()) return true;
    return FieldError(path, absl::StrCat("must end with the token that ends the text, here [", i,
                                         "] of ", request.generated.size()));
  }
  return false;
}

// Of which a policy allows so many a second: those that are read, and the most that may come.
double TokensOf(const GenerateRequest& request) {
  return static_cast<double>(request.prompt.size()) +
         static_cast<double>(request.candidates) * request.stopping.max_tokens;
}

double TokensOf(const ScoreRequest& request) {
  size_t tokens = request.context.size();
  for (const std::vector<TokenId>& continuation : request.continuations) {
    tokens += continuation.size();
  }
  return static_cast<double>(tokens);
}

// Whether the caller may have what the request asks for. Fills in the tenant.
template <typename Request>
absl::Status Permit(const Call& call, bool has_control, Request& request) {
  if (call.visitor == nullptr) return absl::OkStatus();
  Wish wish{.priority = request.scheduling.priority,
            .tenant = request.scheduling.tenant,
            .traces = request.trace,
            .hidden_states = request.hidden_states.wanted(),
            .expert_control = has_control,
            .tokens = TokensOf(request)};
  absl::Status status = call.visitor->Ask(wish, call.arrival).ToStatus();
  request.scheduling.tenant = std::move(wish.tenant);
  return status;
}

}  // namespace

absl::StatusOr<GenerateRequest> Convert(const v1::GenerateRequest& request,
                                        const ServedModel& model, const Call& call,
                                        absl::string_view prefix) {
  GenerateRequest result;
  result.origin = call.origin;
  const std::string path = absl::StrCat(prefix, "prompt");
  ASSIGN_OR_RETURN(result.prompt, EncodePrompt(request.prompt(), *model.tokenizer, path,
                                               model.description.context_length));
  RETURN_IF_ERROR(CheckLength(path, result.prompt, model));
  result.sampling = ConvertSampling(request.sampling());
  if (request.sampling().has_candidates()) result.candidates = request.sampling().candidates();
  result.stopping = ConvertStopping(request.stopping(), *model.tokenizer);
  ASSIGN_OR_RETURN(result.stopping.max_tokens,
                   ResolveMaxTokens(request.stopping(), result.prompt.size(), model));
  if (result.stopping.min_tokens > result.stopping.max_tokens) {
    return FieldError(
        absl::StrCat(prefix, "stopping.min_tokens"),
        absl::StrCat("must be at most max_tokens, here ", result.stopping.max_tokens));
  }
  MaskEndings(result.stopping, result.sampling);
  const auto& generated = request.generated_token_ids().ids();
  result.generated.assign(generated.begin(), generated.end());
  ASSIGN_OR_RETURN(result.is_over, IsOver(result, *model.tokenizer,
                                          absl::StrCat(prefix, "generated_token_ids.ids")));
  if (result.is_over && request.output().expert_trace() > v1::EXPERT_TRACE_LEVEL_NONE) {
    return FieldError(absl::StrCat(prefix, "output.expert_trace"),
                      "must be none: generated_token_ids end the text, so nothing is computed");
  }
  const std::string hidden_states = absl::StrCat(prefix, "hidden_states");
  if (result.is_over && request.has_hidden_states()) {
    return FieldError(hidden_states,
                      "must not be set: generated_token_ids end the text, so nothing is computed");
  }
  ASSIGN_OR_RETURN(
      result.hidden_states,
      ConvertHiddenStates(request.hidden_states(), result.prompt.size(),
                          result.prompt.size() + result.stopping.max_tokens - 1, hidden_states));
  if (request.output().has_logprobs()) {
    result.alternatives = static_cast<int32_t>(request.output().logprobs());
  }
  result.prompt_logprobs = request.output().prompt_logprobs();
  result.trace = ConvertTrace(request.output().expert_trace());
  ASSIGN_OR_RETURN(result.expert_control, ConvertExpertControl(request.expert_control(), model,
                                                               ForcibleTokens(result), prefix));
  result.scheduling = ConvertScheduling(request.scheduling(), call);
  return result;
}

absl::StatusOr<ScoreRequest> Convert(const v1::ScoreRequest& request, const ServedModel& model,
                                     const Call& call, absl::string_view prefix) {
  ScoreRequest result;
  result.origin = call.origin;
  const uint32_t limit = model.description.context_length;
  const std::string context = absl::StrCat(prefix, "context");
  ASSIGN_OR_RETURN(result.context,
                   EncodeContext(request.context(), *model.tokenizer, context, limit));
  RETURN_IF_ERROR(CheckLength(context, result.context, model));
  uint64_t longest = 0;  // of the context with a continuation
  for (int i = 0; i < request.continuations_size(); ++i) {
    const std::string path = absl::StrCat(prefix, "continuations[", i, "]");
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                     EncodeContinuation(request.continuations(i), *model.tokenizer, path, limit));
    RETURN_IF_ERROR(CheckLength(path, tokens, model));
    const uint64_t total = result.context.size() + tokens.size();
    if (total > limit) return TooLong(absl::StrCat("context and ", path), total, model);
    longest = std::max<uint64_t>(longest, total);
    result.continuations.push_back(std::move(tokens));
  }
  ASSIGN_OR_RETURN(result.hidden_states,
                   ConvertHiddenStates(request.hidden_states(), result.context.size(), longest - 1,
                                       absl::StrCat(prefix, "hidden_states")));
  result.alternatives = static_cast<int32_t>(request.logprobs());
  result.trace = ConvertTrace(request.expert_trace());
  ASSIGN_OR_RETURN(result.expert_control, ConvertExpertControl(request.expert_control(), model,
                                                               ComputedTokens(result), prefix));
  result.scheduling = ConvertScheduling(request.scheduling(), call);
  return result;
}

absl::StatusOr<GenerateRequest> ReadRequest(const v1::GenerateRequest& request,
                                            const ServedModel& model, const Call& call) {
  RETURN_IF_ERROR(call.status);
  RETURN_IF_ERROR(Validate(request, model));
  ASSIGN_OR_RETURN(GenerateRequest result, Convert(request, model, call));
  RETURN_IF_ERROR(CheckAnswer(result, model));
  RETURN_IF_ERROR(Permit(call, request.has_expert_control(), result));
  return result;
}

absl::StatusOr<GenerateRequest> ReadRequest(const v1::GenerateStreamRequest& request,
                                            const ServedModel& model, const Call& call) {
  RETURN_IF_ERROR(call.status);
  RETURN_IF_ERROR(Validate(request, model));
  ASSIGN_OR_RETURN(GenerateRequest result, Convert(request.request(), model, call, "request."));
  RETURN_IF_ERROR(CheckStreamedAnswer(result, model));
  RETURN_IF_ERROR(Permit(call, request.request().has_expert_control(), result));
  return result;
}

absl::StatusOr<ScoreRequest> ReadRequest(const v1::ScoreRequest& request, const ServedModel& model,
                                         const Call& call, absl::string_view prefix) {
  RETURN_IF_ERROR(call.status);
  RETURN_IF_ERROR(Validate(request, model, prefix));
  ASSIGN_OR_RETURN(ScoreRequest result, Convert(request, model, call, prefix));
  RETURN_IF_ERROR(CheckAnswer(result, model));
  RETURN_IF_ERROR(Permit(call, request.has_expert_control(), result));
  return result;
}

}  // namespace peerage
