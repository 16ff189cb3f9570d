#include "server/rpc/inference_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tokenizer/detokenizer.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/generate_stream_call.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/request/limits.h"
#include "server/rpc/request/prompt.h"
#include "server/rpc/request/validate.h"
#include "server/rpc/score_stream_call.h"
#include "server/rpc/text_call.h"
#include "server/rpc/unary_calls.h"

namespace peerage {
namespace {

constexpr char kGenerate[] = "peerage.v1.InferenceService/Generate";
constexpr char kGenerateStream[] = "peerage.v1.InferenceService/GenerateStream";
constexpr char kScore[] = "peerage.v1.InferenceService/Score";
constexpr char kScoreStream[] = "peerage.v1.InferenceService/ScoreStream";
constexpr char kTokenize[] = "peerage.v1.InferenceService/Tokenize";
constexpr char kDetokenize[] = "peerage.v1.InferenceService/Detokenize";

absl::Status AnswerTooLarge() {
  return absl::OutOfRangeError(
      absl::StrCat("the answer would take more than ", kMaxResponseBytes, " bytes"));
}

absl::StatusOr<v1::TokenizeResponse> TokenizeRequested(const v1::TokenizeRequest& request,
                                                       const ServedModel& model) {
  RETURN_IF_ERROR(Validate(request, model));
  constexpr size_t kMostTokens = kMaxResponseBytes / kTokenizedTokenBytes;
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                   TokenizePrompt(request.prompt(), *model.tokenizer, "prompt", kMostTokens));
  if (tokens.size() > kMostTokens) return AnswerTooLarge();
  v1::TokenizeResponse response;
  size_t bytes = 0;
  for (const TokenId token : tokens) {
    const absl::string_view text = model.tokenizer->Bytes(token);
    bytes += text.size() + kTokenizedTokenBytes;
    if (bytes > kMaxResponseBytes) return AnswerTooLarge();
    response.add_token_ids(token);
    response.add_tokens(std::string(text));
  }
  return response;
}

absl::StatusOr<v1::DetokenizeResponse> DetokenizeIds(const v1::DetokenizeRequest& request,
                                                     const ServedModel& model) {
  RETURN_IF_ERROR(Validate(request, model));
  Detokenizer detokenizer(model.tokenizer, request.include_special_tokens());
  v1::DetokenizeResponse response;
  std::string& text = *response.mutable_text();
  size_t bytes = 0;  // of the tokens
  for (const TokenId token : request.token_ids()) {
    text += detokenizer.Append(token);
    const absl::string_view own = model.tokenizer->Bytes(token);
    bytes += own.size() + kTokenizedTokenBytes;
    if (text.size() + bytes > kMaxResponseBytes) return AnswerTooLarge();
    response.add_tokens(std::string(own));
  }
  text += detokenizer.Flush();
  return response;
}

}  // namespace

Call InferenceService::ReadCall(grpc::CallbackServerContext& context,
                                absl::string_view method) const {
  return peerage::ReadCall(context, *backend_.clock, method);
}

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return StartCall<GenerateCall>(backend_, request->Length(), ReadCall(*context, kGenerate),
                                 context, request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::GenerateStream(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartCall<GenerateStreamCall>(backend_, request->Length(),
                                       ReadCall(*context, kGenerateStream), context, request);
}

grpc::ServerUnaryReactor* InferenceService::Score(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return StartCall<ScoreCall>(backend_, request->Length(), ReadCall(*context, kScore), context,
                              request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* InferenceService::ScoreStream(
    grpc::CallbackServerContext* context) {
  Call call = ReadCall(*context, kScoreStream);
  if (!call.status.ok()) {
    return Refuse<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>>(call.status,
                                                                               context);
  }
  return ScoreStreamCall::Start(backend_, std::move(call), context);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return TextCall<v1::TokenizeRequest, v1::TokenizeResponse>::Start(
      TokenizeRequested, backend_, ReadCall(*context, kTokenize), context, request, response);
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request,
                                                       grpc::ByteBuffer* response) {
  return TextCall<v1::DetokenizeRequest, v1::DetokenizeResponse>::Start(
      DetokenizeIds, backend_, ReadCall(*context, kDetokenize), context, request, response);
}

}  // namespace peerage
