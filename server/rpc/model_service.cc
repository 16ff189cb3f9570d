#include "server/rpc/model_service.h"

#include <string>

#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/to_proto.h"

namespace peerage {
namespace {

v1::Model ToProto(const ServedModel& served) {
  const ModelDescription& description = served.description;
  v1::Model model;
  model.set_name(served.name);
  model.set_fingerprint(description.fingerprint);
  model.set_architecture(description.architecture);
  model.set_total_parameters(description.total_parameters);
  model.set_active_parameters(description.active_parameters);
  model.set_num_layers(description.num_layers);
  model.set_hidden_size(description.hidden_size);
  model.set_vocabulary_size(description.vocabulary_size);
  model.set_context_length(description.context_length);
  model.set_weights_dtype(description.weights_dtype);
  model.set_weights_bytes(description.weights_bytes);
  model.set_kv_bytes_per_token(description.kv_bytes_per_token);
  for (const ExpertLayer& layer : description.expert_layers) {
    *model.add_expert_layers() = peerage::ToProto(layer);
  }
  model.set_chat_template(std::string(served.tokenizer->chat_template_name()));
  model.set_chat_template_error(std::string(served.tokenizer->chat_status().message()));
  return model;
}

}  // namespace

grpc::ServerUnaryReactor* ModelService::ListModels(grpc::CallbackServerContext* context,
                                                   const v1::ListModelsRequest* request,
                                                   v1::ListModelsResponse* response) {
  const absl::Status status = BeginCall(*context);
  if (status.ok()) *response->add_models() = ToProto(*model_);
  return FinishUnary(status, context);
}

grpc::ServerUnaryReactor* ModelService::GetModel(grpc::CallbackServerContext* context,
                                                 const v1::GetModelRequest* request,
                                                 v1::GetModelResponse* response) {
  absl::Status status = BeginCall(*context);
  status.Update(model_->CheckName(request->model()));
  if (status.ok()) *response->mutable_model() = ToProto(*model_);
  return FinishUnary(status, context);
}

}  // namespace peerage
