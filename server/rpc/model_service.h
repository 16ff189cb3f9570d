#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "peerage/v1/models.grpc.pb.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// What is served. Threads: safe from many.
class ModelService final : public v1::ModelService::CallbackService {
 public:
  // `model` must outlive the service.
  explicit ModelService(const ServedModel* model) : model_(model) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

 private:
  const ServedModel* const model_;
};

}  // namespace peerage
