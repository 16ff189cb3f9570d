#include "server/rpc/call_interceptor.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
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

bool IsInference(absl::string_view method) {
  const absl::string_view service = v1::InferenceService::service_full_name();
  return absl::ConsumePrefix(&method, service) && absl::StartsWith(method, "/");
}

// Of a message that is about to be sent, as gRPC has it: calls of inference make bytes of theirs
// themselves (message_bytes.h). Of the other methods, one has messages that are not small.
size_t BytesOf(const void* message, absl::string_view method) {
  if (message == nullptr) return 0;
  if (IsInference(method)) return static_cast<const grpc::ByteBuffer*>(message)->Length();
  if (method == "peerage.v1.ExpertService/GetExpertUsage") {
    return static_cast<const v1::GetExpertUsageResponse*>(message)->ByteSizeLong();
  }
  return 0;
}

// gRPC's word for it would be UNIMPLEMENTED, as if the method were not there, and no reason.
absl::Status NoSuchMessage() {
  return absl::InvalidArgumentError(
      "the message is none of this method: its bytes do not parse, or a text of it is not UTF-8");
}

class CallInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallInterceptor(ServerRpcInfo* info, const CallParts& parts)
      : info_(info),
        parts_(parts),
        begin_(parts.clock->Now()),
        generation_(parts.calls->all.Begin()),
        method_(absl::StripPrefix(info->method(), "/")),
        reader_(parts.readers, method_) {
    const bool ends_by_itself = info->type() == ServerRpcInfo::Type::UNARY ||
                                info->type() == ServerRpcInfo::Type::SERVER_STREAMING;
    if (IsInference(method_) && ends_by_itself) {
      answer_generation_ = parts.calls->answers.Begin();
    }
  }
  ~CallInterceptor() override {
    if (answer_generation_.has_value()) parts_.calls->answers.End(*answer_generation_);
    parts_.calls->all.End(generation_);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      passage_ = parts_.gate->Enter(*info_->server_context(), method_);
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      request_id_ = EchoedRequestId(*methods->GetSendInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_SEND_MESSAGE)) {
      reader_.OnWritten();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      reader_.OnWrite(info_->server_context()->c_call(),
                      BytesOf(methods->GetSendMessage(), method_));
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      reader_.OnWrite(info_->server_context()->c_call(), 0);
      grpc::Status status = methods->GetSendStatus();
      absl::Status other = passage_.refusal;
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && IsServed(method_)) {
        other.Update(NoSuchMessage());
      }
      if (!other.ok()) {
        const google::rpc::Status told = ToRpcStatus(other);
        status = grpc::Status(static_cast<grpc::StatusCode>(told.code()), told.message(),
                              told.SerializeAsString());
        methods->ModifySendStatus(status);
      }
      Tell(status);
      if (const Passage passage = LetIn(); passage.visitor != nullptr) passage.visitor->Leave();
    }
    methods->Proceed();
  }

 private:
  // By the gate, who keeps that where the call's context cannot.
  Passage LetIn() const {
    return passage_.visitor != nullptr ? passage_ : PassageOf(*info_->server_context());
  }

  void Tell(const grpc::Status& status) const {
    CallEvent event;
    event.origin = ReadTrace(info_->server_context()->client_metadata());
    event.origin.method = method_;
    event.origin.principal = PrincipalOf(LetIn());
    event.origin.request_id = request_id_;
    event.code = reader_.ended() ? absl::StatusCode::kResourceExhausted
                                 : static_cast<absl::StatusCode>(status.error_code());
    event.error = status.error_message();
    event.duration = parts_.clock->Now() - begin_;
    parts_.observer->OnCallDone(event);
  }

  ServerRpcInfo* const info_;
  const CallParts parts_;
  const absl::Time begin_;
  const uint64_t generation_;
  Passage passage_;                            // the gate's
  std::optional<uint64_t> answer_generation_;  // where it counts among the answers
  const std::string method_;
  SlowReaders::Call reader_;
  std::string request_id_;
};

class CallInterceptors final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallInterceptors(CallParts parts) : parts_(std::move(parts)) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new CallInterceptor(info, parts_);
  }

 private:
  const CallParts parts_;
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
    CallParts parts) {
  return std::make_unique<CallInterceptors>(std::move(parts));
}

}  // namespace peerage
