#include "server/rpc/inference_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tokenizer/detokenizer.h"
#include "server/rpc/call.h"
#include "server/rpc/convert.h"
#include "server/rpc/generate_reactor.h"
#include "server/rpc/generate_stream_reactor.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/opening.h"
#include "server/rpc/prepare.h"
#include "server/rpc/prompt.h"
#include "server/rpc/refused_call.h"
#include "server/rpc/score_reactor.h"
#include "server/rpc/score_stream_reactor.h"
#include "server/rpc/validate.h"

namespace peerage {
namespace {

template <typename Reactor>
Reactor* Refuse(const absl::Status& status, grpc::CallbackServerContext* context) {
  return new RefusedCall<Reactor>(ToGrpcStatus(status, *context));
}

// Finishes a call that needs no engine.
template <typename Response>
grpc::ServerUnaryReactor* Answer(absl::StatusOr<Response> answer,
                                 grpc::CallbackServerContext* context, Response* response) {
  if (!answer.ok()) return Refuse<grpc::ServerUnaryReactor>(answer.status(), context);
  *response = *std::move(answer);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
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
    const std::string_view text = model.tokenizer->Bytes(token);
    bytes += text.size() + 8;  // the id and the length of the text, at most
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
  for (const TokenId token : request.token_ids()) {
    text += detokenizer.Append(token);
    if (text.size() > kMaxResponseBytes) return AnswerTooLarge();
  }
  text += detokenizer.Flush();
  return response;
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                     const v1::GenerateRequest* request,
                                                     v1::GenerateResponse* response) {
  absl::StatusOr<GenerateRequest> prepared =
      Prepare(*request, backend_, ReadCall(*context, *backend_.clock));
  if (!prepared.ok()) return Refuse<grpc::ServerUnaryReactor>(prepared.status(), context);
  *response = OpenGenerate(*prepared, *backend_.model);
  return GenerateReactor::Start(backend_, *std::move(prepared), context, response);
}

grpc::ServerWriteReactor<v1::GenerateStreamResponse>* InferenceService::GenerateStream(
    grpc::CallbackServerContext* context, const v1::GenerateStreamRequest* request) {
  absl::StatusOr<GenerateRequest> prepared =
      Prepare(*request, backend_, ReadCall(*context, *backend_.clock));
  if (!prepared.ok()) {
    return Refuse<grpc::ServerWriteReactor<v1::GenerateStreamResponse>>(prepared.status(), context);
  }
  GenerateStreamOpening opening;
  opening.started = OpenGenerateStream(*prepared, *backend_.model);
  if (request->has_tokens_per_message()) opening.tokens_per_message = request->tokens_per_message();
  return GenerateStreamReactor::Start(backend_, *std::move(prepared), context, std::move(opening));
}

grpc::ServerUnaryReactor* InferenceService::Score(grpc::CallbackServerContext* context,
                                                  const v1::ScoreRequest* request,
                                                  v1::ScoreResponse* response) {
  absl::StatusOr<ScoreRequest> prepared =
      Prepare(*request, backend_, ReadCall(*context, *backend_.clock));
  if (!prepared.ok()) return Refuse<grpc::ServerUnaryReactor>(prepared.status(), context);
  *response = OpenScore(*prepared, *backend_.model);
  return ScoreReactor::Start(backend_, *std::move(prepared), context, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* InferenceService::ScoreStream(
    grpc::CallbackServerContext* context) {
  absl::StatusOr<Call> call = ReadCall(*context, *backend_.clock);
  if (!call.ok()) {
    return Refuse<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>>(call.status(),
                                                                               context);
  }
  return ScoreStreamReactor::Start(backend_, *std::move(call), context);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  const absl::StatusOr<Call> call = ReadCall(*context, *backend_.clock);
  if (!call.ok()) return Refuse<grpc::ServerUnaryReactor>(call.status(), context);
  return Answer(TokenizePrompt(*request, *backend_.model), context, response);
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  const absl::StatusOr<Call> call = ReadCall(*context, *backend_.clock);
  if (!call.ok()) return Refuse<grpc::ServerUnaryReactor>(call.status(), context);
  return Answer(DetokenizeIds(*request, *backend_.model), context, response);
}

}  // namespace peerage
