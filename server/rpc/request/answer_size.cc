#include "server/rpc/request/answer_size.h"

#include <algorithm>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "server/rpc/request/limits.h"

namespace peerage {
namespace {

// Bytes of ids and scores of a full trace; 0 for the other levels.
uint64_t FullTraceBytes(ExpertTraceLevel level, uint64_t tokens,
                        absl::Span<const ExpertLayer> layers) {
  if (level != ExpertTraceLevel::kFull) return 0;
  uint64_t picks = 0;  // of one token
  for (const ExpertLayer& layer : layers) picks += layer.picks_per_token();
  return tokens * picks * (sizeof(uint32_t) + sizeof(float));
}

// What a control takes on the wire at most.
uint64_t EchoBytes(const ExpertControl& control) {
  constexpr uint64_t kLayer = 64, kMaskedId = 5, kBias = 14, kPick = 8;  // with tags and lengths
  uint64_t bytes = 0;
  for (const LayerControl& layer : control.layers) {
    bytes += kLayer + layer.masked_ids.size() * kMaskedId + layer.biases.size() * kBias +
             layer.forced.ids.size() * kPick;
  }
  return bytes;
}

// Tokens of all candidates or continuations together of which hidden states may be reported.
uint64_t HiddenTokens(const GenerateRequest& request) {
  const auto prompt = static_cast<uint32_t>(request.prompt.size());
  const HiddenStatesChoice& choice = request.hidden_states;
  return choice.Count(0, prompt) +
         request.candidates * choice.Count(prompt, prompt + request.stopping.max_tokens - 1);
}

uint64_t HiddenTokens(const ScoreRequest& request) {
  const auto context = static_cast<uint32_t>(request.context.size());
  const HiddenStatesChoice& choice = request.hidden_states;
  uint64_t tokens = choice.Count(0, context);
  for (const std::vector<TokenId>& continuation : request.continuations) {
    tokens += choice.Count(context, static_cast<uint32_t>(context + continuation.size() - 1));
  }
  return tokens;
}

// What a row takes beside its values at most: its position, and what says of which layer and part
// it is, which it may share with others.
constexpr uint64_t kHiddenRowBytes = 32;

// What hidden states take of an answer, or why there are none beside a trace of so many bytes.
template <typename Request>
absl::StatusOr<uint64_t> CheckHiddenStates(const Request& request, const ServedModel& model,
                                           uint64_t trace_bytes) {
  if (!request.hidden_states.wanted()) return 0;
  const uint64_t tokens = HiddenTokens(request), layers = request.hidden_states.layers.size();
  const uint64_t row = model.description.hidden_size * sizeof(float) + kHiddenRowBytes;
  const uint64_t bytes = tokens * layers * row;
  if (bytes + trace_bytes <= model.trace_limits.max_bytes) return bytes;
  return absl::OutOfRangeError(absl::StrCat(
      "hidden_states: ", tokens, " tokens in ", layers, " layers could take ", bytes, " bytes, ",
      row, " each", trace_bytes > 0 ? absl::StrCat(", beside ", trace_bytes, " of the trace") : "",
      ", the server's limit is ", model.trace_limits.max_bytes, " (--max-trace-mib)"));
}

// What the trace takes of an answer, or why there is none.
template <typename Request>
absl::StatusOr<uint64_t> CheckTrace(const Request& request, const ServedModel& model) {
  const TraceLimits& limits = model.trace_limits;
  if (request.trace > limits.level) {
    return absl::FailedPreconditionError(
        absl::StrCat("expert_trace: the server runs with --expert-trace=",
                     ChoiceName(kExpertTraceLevels, limits.level)));
  }
  const uint64_t bytes =
      FullTraceBytes(request.trace, ComputedTokens(request), model.description.expert_layers);
  if (bytes > limits.max_bytes) {
    return absl::OutOfRangeError(absl::StrCat("expert_trace: the picks of all tokens could take ",
                                              bytes, " bytes, the server's limit is ",
                                              limits.max_bytes, " (--max-trace-mib)"));
  }
  if (request.trace == ExpertTraceLevel::kNone) return bytes;
  const uint64_t with_echo = bytes + EchoBytes(request.expert_control);
  if (with_echo > kMaxResponseBytes) {
    return absl::OutOfRangeError(
        absl::StrCat("expert_trace: picks and the expert_control that is answered with them could "
                     "take ",
                     with_echo, " bytes, the limit of an answer is ", kMaxResponseBytes));
  }
  return with_echo;
}

// What trace and hidden states take of an answer, or why one of them is not given.
template <typename Request>
absl::StatusOr<uint64_t> CheckRecords(const Request& request, const ServedModel& model) {
  ASSIGN_OR_RETURN(const uint64_t trace, CheckTrace(request, model));
  ASSIGN_OR_RETURN(const uint64_t hidden, CheckHiddenStates(request, model, trace));
  return trace + hidden;
}

// What log-probabilities take; alternatives as CheckAnswerSize has them.
uint64_t ReportedBytes(uint64_t tokens, int32_t alternatives) {
  return alternatives < 0 ? 0 : tokens * LogprobBytes(static_cast<uint32_t>(alternatives));
}

// Of text and ids, beside the `rest` of an answer.
absl::Status CheckTextSize(uint64_t tokens, uint64_t bytes_of_token, uint64_t rest) {
  const uint64_t bytes = tokens * bytes_of_token;
  if (bytes + rest <= kMaxResponseBytes) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(
      "the text of ", tokens, " tokens could take ", bytes, " bytes",
      rest > 0 ? absl::StrCat(", beside ", rest, " of what else is asked for") : "",
      ", the limit of an answer is ", kMaxResponseBytes, ": ask for fewer tokens, or as a stream"));
}

}  // namespace

uint64_t MostTextBytes(const Tokenizer& tokenizer) {
  // What is not UTF-8 by itself may become U+FFFD, of three bytes, for each byte.
  constexpr uint64_t kReplacement = 3;
  uint64_t most = kReplacement;
  for (int id = 0; id < tokenizer.vocab_size(); ++id) {
    const absl::string_view bytes = tokenizer.Bytes(static_cast<TokenId>(id));
    most = std::max<uint64_t>(most, bytes.size() * (IsValidUtf8(bytes) ? 1 : kReplacement));
  }
  return most;
}

uint64_t ComputedTokens(const GenerateRequest& request) {
  return request.prompt.size() + uint64_t{request.candidates} * (request.stopping.max_tokens - 1);
}

uint64_t ComputedTokens(const ScoreRequest& request) {
  uint64_t tokens = request.context.size();
  for (const std::vector<TokenId>& continuation : request.continuations) {
    tokens += continuation.size() - 1;
  }
  return tokens;
}

absl::Status CheckAnswer(const GenerateRequest& request, const ServedModel& model) {
  ASSIGN_OR_RETURN(const uint64_t record_bytes, CheckRecords(request, model));
  const int32_t prompt_alternatives =
      request.prompt_logprobs ? std::max(request.alternatives, 0) : -1;
  const uint64_t generated = uint64_t{request.candidates} * request.stopping.max_tokens;
  RETURN_IF_ERROR(CheckAnswerSize(request.prompt.size(), prompt_alternatives, record_bytes));
  RETURN_IF_ERROR(CheckAnswerSize(generated, request.alternatives, record_bytes));
  const uint64_t rest = ReportedBytes(request.prompt.size(), prompt_alternatives) +
                        ReportedBytes(generated, request.alternatives) + record_bytes;
  return CheckTextSize(generated, kTokenIdBytes + model.token_text_bytes, rest);
}

absl::Status CheckAnswer(const ScoreRequest& request, const ServedModel& model) {
  ASSIGN_OR_RETURN(const uint64_t record_bytes, CheckRecords(request, model));
  uint64_t scored = 0;
  for (const std::vector<TokenId>& tokens : request.continuations) scored += tokens.size();
  return CheckAnswerSize(scored, request.alternatives, record_bytes);
}

absl::Status CheckStreamedAnswer(const GenerateRequest& request, const ServedModel& model) {
  return CheckRecords(request, model).status();
}

absl::Status CheckAnswerSize(uint64_t logprobs, int32_t alternatives, uint64_t record_bytes) {
  if (alternatives < 0) return absl::OkStatus();
  const uint64_t room = kMaxResponseBytes - std::min(kMaxResponseBytes, record_bytes);
  if (logprobs <= room / LogprobBytes(static_cast<uint32_t>(alternatives))) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(
      logprobs, " log-probabilities with ", alternatives,
      " alternatives each could take more than ", room, " bytes, the limit of an answer",
      record_bytes > 0 ? " beside its trace and hidden states" : ""));
}

}  // namespace peerage
