#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "peerage/v1/models.grpc.pb.h"
#include "server/rpc/backend.h"

namespace peerage {

// How the server is doing, how to make it stop taking work, and how much it logs.
//
// Threads: safe from many. Draining waits on a thread of its own, which the first Drain starts;
// the destructor joins it, so by then the engine's requests must have ended or been cancelled.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  AdminService(const Backend& backend, std::string version);
  ~AdminService() override;

  grpc::ServerUnaryReactor* GetServerStatus(grpc::CallbackServerContext* context,
                                            const v1::GetServerStatusRequest* request,
                                            v1::GetServerStatusResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* context,
                                        const v1::SetLogLevelRequest* request,
                                        v1::SetLogLevelResponse* response) override;

 private:
  class DrainReactor;

  // False when the drain is over already. The first call starts it.
  bool WaitForDrain(std::shared_ptr<DrainReactor> reactor) ABSL_LOCKS_EXCLUDED(mu_);
  void RunDrain() ABSL_LOCKS_EXCLUDED(mu_);

  const Backend backend_;
  const std::string version_;
  const absl::Time start_;

  absl::Mutex mu_;
  std::thread drain_ ABSL_GUARDED_BY(mu_);
  bool drained_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::shared_ptr<DrainReactor>> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
