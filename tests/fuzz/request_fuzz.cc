// A message that a client may send, as JSON (a small letter before it) or in protobuf's encoding (a
// capital): it is refused with a status that requests are refused with, or what the engine would be
// given keeps what engine/request.h promises.
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/rpc/request/read_request.h"
#include "server/rpc/request/validate.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

constexpr uint32_t kContext = 64;

void Require(bool holds) {
  if (!holds) std::abort();
}

const ServedModel& Model() {
  static const FakeTokenizer tokenizer;
  static const ServedModel model = [] {
    ServedModel made;
    made.name = "fake";
    made.description.vocabulary_size = FakeTokenizer::kVocabSize;
    made.description.context_length = kContext;
    made.description.num_layers = 2;
    made.description.hidden_size = 8;
    made.description.takes_expert_control = true;
    made.description.expert_layers = {{.layer = 0,
                                       .kind = ExpertLayerKind::kPeer,
                                       .num_experts = 18,
                                       .heads = 2,
                                       .top_k = 3,
                                       .expert_sets = 2},
                                      {.layer = 1,
                                       .kind = ExpertLayerKind::kMixtureFfn,
                                       .num_experts = 3,
                                       .heads = 1,
                                       .top_k = 2}};
    made.tokenizer = &tokenizer;
    made.trace_limits.level = ExpertTraceLevel::kFull;
    made.token_text_bytes = 8;
    return made;
  }();
  return model;
}

template <typename Message>
bool Parse(const std::string& bytes, bool is_json, Message& message) {
  if (!is_json) return message.ParseFromString(bytes);
  return google::protobuf::util::JsonStringToMessage(bytes, &message).ok();
}

void RequireRefusal(const absl::Status& status) {
  Require(absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
          absl::IsOutOfRange(status) || absl::IsFailedPrecondition(status) ||
          absl::IsResourceExhausted(status));
  Require(!status.message().empty() && status.message().size() < 20'000);
}

void RequireTokens(const std::vector<TokenId>& tokens) {
  Require(tokens.size() <= kContext);
  Require(std::all_of(tokens.begin(), tokens.end(),
                      [](TokenId token) { return token < FakeTokenizer::kVocabSize; }));
}

void RequirePromises(const GenerateRequest& request) {
  RequireTokens(request.prompt);
  RequireTokens(request.generated);
  Require(!request.prompt.empty() && request.candidates >= 1);
  Require(request.stopping.max_tokens >= 1 &&
          request.prompt.size() + request.stopping.max_tokens <= kContext);
  Require(request.stopping.min_tokens <= request.stopping.max_tokens);
  Require(request.generated.empty() || request.candidates == 1);
  Require(request.alternatives >= -1 && request.alternatives <= 20);
  const SamplingParams& sampling = request.sampling;
  for (const float value :
       {sampling.temperature, sampling.top_p, sampling.min_p, sampling.repetition_penalty,
        sampling.frequency_penalty, sampling.presence_penalty}) {
    Require(std::isfinite(value));
  }
  Require(sampling.temperature >= 0 && sampling.top_p > 0 && sampling.top_p <= 1);
}

void RequirePromises(const ScoreRequest& request) {
  RequireTokens(request.context);
  Require(!request.continuations.empty());
  for (const std::vector<TokenId>& continuation : request.continuations) {
    RequireTokens(continuation);
    Require(!continuation.empty() && request.context.size() + continuation.size() <= kContext);
  }
  Require(request.alternatives >= 0 && request.alternatives <= 20);
}

// Of requests that the engine runs.
template <typename Message>
void Read(const std::string& bytes, bool is_json) {
  Message message;
  if (!Parse(bytes, is_json, message)) return;
  Call call;
  call.deadline = absl::InfiniteFuture();
  const auto request = ReadRequest(message, Model(), call);
  if (!request.ok()) return RequireRefusal(request.status());
  Require(Validate(message, Model()).ok());
  RequirePromises(*request);
}

// Of the others.
template <typename Message>
void Check(const std::string& bytes, bool is_json) {
  Message message;
  if (!Parse(bytes, is_json, message)) return;
  const absl::Status status = Validate(message, Model());
  if (!status.ok()) RequireRefusal(status);
}

void ReadAny(char kind, const std::string& bytes) {
  const bool is_json = std::islower(static_cast<unsigned char>(kind)) != 0;
  switch (std::tolower(static_cast<unsigned char>(kind))) {
    case 'g':
      return Read<v1::GenerateRequest>(bytes, is_json);
    case 'n':
      return Read<v1::GenerateStreamRequest>(bytes, is_json);
    case 's':
      return Read<v1::ScoreRequest>(bytes, is_json);
    case 't':
      return Check<v1::TokenizeRequest>(bytes, is_json);
    case 'd':
      return Check<v1::DetokenizeRequest>(bytes, is_json);
    case 'u':
      return Check<v1::GetExpertUsageRequest>(bytes, is_json);
    case 'w':
      return Check<v1::WatchExpertSummaryRequest>(bytes, is_json);
    default:
      return;
  }
}

}  // namespace
}  // namespace peerage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // It would print a line for every text that is no UTF-8.
  [[maybe_unused]] static const auto before = google::protobuf::SetLogHandler(nullptr);
  if (size == 0) return 0;
  const std::string input(reinterpret_cast<const char*>(data), size);
  peerage::ReadAny(input[0], input.substr(1));
  return 0;
}
