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
#include "server/rpc/request/read_request.h"
#include "server/rpc/request/validate.h"
#include "server/rpc/score_stream_call.h"
#include "server/rpc/to_proto.h"
#include "server/rpc/unary_calls.h"

namespace peerage {
namespace {

constexpr char kGenerate[] = "peerage.v1.InferenceService/Generate";
constexpr char kGenerateStream[] = "peerage.v1.InferenceService/GenerateStream";
constexpr char kScore[] = "peerage.v1.InferenceService/Score";
constexpr char kScoreStream[] = "peerage.v1.InferenceService/ScoreStream";

// Finishes a call that needs no engine.
template <typename Response>
grpc::ServerUnaryReactor* Answer(absl::StatusOr<Response> answer,
                                 grpc::CallbackServerContext* context, Response* response) {
  if (!answer.ok()) return FinishUnary(answer.status(), context);
  *response = *std::move(answer);
  return FinishUnary(absl::OkStatus(), context);
}

absl::Status AnswerTooLarge() {
  return absl::OutOfRangeError(
      absl::StrCat("the answer would take more than ", kMaxResponseBytes, " bytes"));
}

absl::StatusOr<v1::TokenizeResponse> TokenizePrompt(const v1::TokenizeRequest& request,
                                                    const ServedModel& model) {
  RETURN_IF_ERROR(Validate(request, model));
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                   EncodePrompt(request.prompt(), *model.tokenizer, "prompt"));
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

template <typename Request, typename Message>
absl::StatusOr<Request> InferenceService::Read(const Message& message, absl::string_view method,
                                               grpc::CallbackServerContext& context) const {
  const Call call = ReadCall(context, *backend_.clock, method);
  return TellRefusal<Request>(ReadRequest(message, *backend_.model, call), call, backend_);
}

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                     const v1::GenerateRequest* request,
                                                     v1::GenerateResponse* response) {
  absl::StatusOr<GenerateRequest> read = Read<GenerateRequest>(*request, kGenerate, *context);
  if (!read.ok()) return FinishUnary(read.status(), context);
  *response = NewGenerateResponse(*read, *backend_.model);
  return StartCall<GenerateCall>(*std::move(read), backend_, context, response);
}

grpc::ServerWriteReactor<v1::GenerateStreamResponse>* InferenceService::GenerateStream(
    grpc::CallbackServerContext* context, const v1::GenerateStreamRequest* request) {
  absl::StatusOr<GenerateRequest> read = Read<GenerateRequest>(*request, kGenerateStream, *context);
  if (!read.ok()) {
    return Refuse<grpc::ServerWriteReactor<v1::GenerateStreamResponse>>(read.status(), context);
  }
  GenerateStreamStart start{.message = NewStarted(*read, *backend_.model)};
  if (request->has_tokens_per_message()) start.tokens_per_message = request->tokens_per_message();
  return StartCall<GenerateStreamCall>(*std::move(read), backend_, context, std::move(start));
}

grpc::ServerUnaryReactor* InferenceService::Score(grpc::CallbackServerContext* context,
                                                  const v1::ScoreRequest* request,
                                                  v1::ScoreResponse* response) {
  absl::StatusOr<ScoreRequest> read = Read<ScoreRequest>(*request, kScore, *context);
  if (!read.ok()) return FinishUnary(read.status(), context);
  *response = NewScoreResponse(*read, *backend_.model);
  return StartCall<ScoreCall>(*std::move(read), backend_, context, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* InferenceService::ScoreStream(
    grpc::CallbackServerContext* context) {
  Call call = ReadCall(*context, *backend_.clock, kScoreStream);
  if (!call.status.ok()) {
    return Refuse<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>>(call.status,
                                                                               context);
  }
  return ScoreStreamCall::Start(backend_, std::move(call), context);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  const absl::Status read = ReadRequestId(*context).status();
  if (!read.ok()) return FinishUnary(read, context);
  return Answer(TokenizePrompt(*request, *backend_.model), context, response);
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  const absl::Status read = ReadRequestId(*context).status();
  if (!read.ok()) return FinishUnary(read, context);
  return Answer(DetokenizeIds(*request, *backend_.model), context, response);
}

}  // namespace peerage
