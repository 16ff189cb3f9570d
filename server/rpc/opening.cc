#include "server/rpc/opening.h"

#include "server/rpc/convert.h"

namespace peerage {

v1::GenerateResponse OpenGenerate(const GenerateRequest& request, const ServedModel& model) {
  v1::GenerateResponse response;
  response.set_request_id(request.id);
  *response.mutable_sampling() = Resolved(request);
  *response.mutable_model() = model.ref();
  response.mutable_usage()->set_prompt_tokens(request.prompt.size());
  for (uint32_t i = 0; i < request.candidates; ++i) response.add_candidates()->set_index(i);
  return response;
}

v1::Started OpenGenerateStream(const GenerateRequest& request, const ServedModel& model) {
  v1::Started started;
  started.set_request_id(request.id);
  *started.mutable_sampling() = Resolved(request);
  started.set_prompt_tokens(request.prompt.size());
  *started.mutable_model() = model.ref();
  return started;
}

v1::ScoreResponse OpenScore(const ScoreRequest& request, const ServedModel& model) {
  v1::ScoreResponse response;
  response.set_request_id(request.id);
  *response.mutable_model() = model.ref();
  response.mutable_usage()->set_prompt_tokens(request.context.size());
  for (size_t i = 0; i < request.continuations.size(); ++i) response.add_scores();
  return response;
}

}  // namespace peerage
