#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "peerage/v1/experts.grpc.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/expert_usage_call.h"

namespace peerage {

// Which experts the model uses. FAILED_PRECONDITION for what the server does not count.
//
// Threads: safe from many. Nothing blocks.
class ExpertService final : public v1::ExpertService::CallbackService {
 public:
  explicit ExpertService(const Backend& backend) : backend_(backend) {}

  grpc::ServerWriteReactor<v1::GetExpertUsageResponse>* GetExpertUsage(
      grpc::CallbackServerContext* context, const v1::GetExpertUsageRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchExpertSummaryResponse>* WatchExpertSummary(
      grpc::CallbackServerContext* context, const v1::WatchExpertSummaryRequest* request) override;
  grpc::ServerUnaryReactor* ResetExpertUsage(grpc::CallbackServerContext* context,
                                             const v1::ResetExpertUsageRequest* request,
                                             v1::ResetExpertUsageResponse* response) override;

 private:
  const Backend backend_;
  const UsageReads usage_reads_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace peerage
