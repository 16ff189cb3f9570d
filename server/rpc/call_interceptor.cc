#include "server/rpc/call_interceptor.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "peerage/v1/experts.grpc.pb.h"
#include "peerage/v1/inference.grpc.pb.h"
#include "peerage/v1/models.grpc.pb.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/request/call_context.h"
#include "server/rpc/request/call_metadata.h"

namespace peerage {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

bool IsServed(const std::string& method) {
  static const absl::flat_hash_set<std::string> served = [] {
    const std::vector<std::string> methods = ServedMethods();
    return absl::flat_hash_set<std::string>(methods.begin(), methods.end());
  }();
  return served.contains(method);
}

// gRPC's word for it would be UNIMPLEMENTED, as if the method were not there, and no reason.
absl::Status NoSuchMessage() {
  return absl::InvalidArgumentError(
      "the message is none of this method: its bytes do not parse, or a text of it is not UTF-8");
}

class CallInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallInterceptor(ServerRpcInfo* info, const Gate* gate, EngineObserver* observer,
                  const Clock* clock, CallsInFlight* calls)
      : info_(info),
        gate_(gate),
        observer_(observer),
        clock_(clock),
        begin_(clock->Now()),
        calls_(calls),
        generation_(calls->Begin()) {}
  ~CallInterceptor() override { calls_->End(generation_); }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      refusal_ = gate_->Enter(*info_->server_context(), Method());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      request_id_ = EchoedRequestId(*methods->GetSendInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      grpc::Status status = methods->GetSendStatus();
      const std::string method = Method();
      absl::Status other = refusal_;
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && IsServed(method)) {
        other.Update(NoSuchMessage());
      }
      if (!other.ok()) {
        const google::rpc::Status told = ToRpcStatus(other);
        status = grpc::Status(static_cast<grpc::StatusCode>(told.code()), told.message(),
                              told.SerializeAsString());
        methods->ModifySendStatus(status);
      }
      Tell(method, status);
    }
    methods->Proceed();
  }

 private:
  std::string Method() const { return std::string(absl::StripPrefix(info_->method(), "/")); }

  void Tell(const std::string& method, const grpc::Status& status) const {
    CallEvent event;
    event.origin = ReadTrace(info_->server_context()->client_metadata());
    event.origin.method = method;
    event.origin.principal = PrincipalOf(PassageOf(*info_->server_context()));
    event.origin.request_id = request_id_;
    event.code = static_cast<absl::StatusCode>(status.error_code());
    event.error = status.error_message();
    event.duration = clock_->Now() - begin_;
    observer_->OnCallDone(event);
  }

  ServerRpcInfo* const info_;
  const Gate* const gate_;
  EngineObserver* const observer_;
  const Clock* const clock_;
  const absl::Time begin_;
  CallsInFlight* const calls_;
  const uint64_t generation_;
  absl::Status refusal_;  // the gate's
  std::string request_id_;
};

class CallInterceptors final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallInterceptors(const Gate* gate, EngineObserver* observer, const Clock* clock,
                   CallsInFlight* calls)
      : gate_(gate), observer_(observer), clock_(clock), calls_(calls) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new CallInterceptor(info, gate_, observer_, clock_, calls_);
  }

 private:
  const Gate* const gate_;
  EngineObserver* const observer_;
  const Clock* const clock_;
  CallsInFlight* const calls_;
};

}  // namespace

std::vector<std::string> ServedMethods() {
  std::vector<std::string> methods = {
      "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch",
      "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};
  for (const char* name :
       {v1::InferenceService::service_full_name(), v1::ModelService::service_full_name(),
        v1::ExpertService::service_full_name(), v1::AdminService::service_full_name()}) {
    const auto* service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
    for (int i = 0; i < service->method_count(); ++i) {
      methods.push_back(absl::StrCat(name, "/", service->method(i)->name()));
    }
  }
  return methods;
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> InterceptCalls(
    const Gate* gate, EngineObserver* observer, const Clock* clock, CallsInFlight* calls) {
  return std::make_unique<CallInterceptors>(gate, observer, clock, calls);
}

}  // namespace peerage
