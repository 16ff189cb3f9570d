#include "server/rpc/gate.h"

#include <grpc/grpc.h>
#include <grpcpp/generic/async_generic_service.h>

#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "server/door/connection_limits.h"
#include "server/identity/principal.h"
#include "server/rpc/client_address.h"

namespace peerage {
namespace {

class Contexts final : public grpc::ContextAllocator {
 public:
  grpc::CallbackServerContext* NewCallbackServerContext() override { return new CallContext; }
  void Release(grpc::CallbackServerContext* context) override { delete context; }
  // Of calls of methods that nobody answers.
  grpc::GenericCallbackServerContext* NewGenericCallbackServerContext() override {
    return new grpc::GenericCallbackServerContext;
  }
  void Release(grpc::GenericCallbackServerContext* context) override { delete context; }
};

Credentials CredentialsOf(const grpc::ServerContextBase& context, const ConnectionInfo& client) {
  const auto [first, last] = context.client_metadata().equal_range("authorization");
  Credentials credentials;
  credentials.authorizations = static_cast<int>(std::distance(first, last));
  if (credentials.authorizations == 1) {
    credentials.authorization.assign(first->second.data(), first->second.size());
  }
  if (CheckPrincipalName(client.principal).ok()) credentials.certificate = client.principal;
  return credentials;
}

}  // namespace

std::unique_ptr<grpc::ContextAllocator> Gate::NewContexts() { return std::make_unique<Contexts>(); }

Passage Gate::Decide(const Credentials& credentials, const std::string& method) const {
  Passage passage;
  if (authorizer_ == nullptr) return passage;
  const Verdict verdict = authorizer_->Enter(credentials, method, clock_->Now(), passage.visitor);
  passage.refusal = verdict.ToStatus();
  return passage;
}

Passage Gate::Enter(grpc::ServerContextBase& context, const std::string& method) const {
  const ConnectionInfo client = ClientOf(context, door_);
  Passage passage;
  if (authorizer_ != nullptr) passage = Decide(CredentialsOf(context, client), method);
  passage.host = PeerOf(client.address);
  const absl::Status& refusal = passage.refusal;
  if (!refusal.ok() && !absl::StartsWith(method, "peerage.v1.")) {
    grpc_call_cancel_with_status(context.c_call(), static_cast<grpc_status_code>(refusal.code()),
                                 std::string(refusal.message()).c_str(), nullptr);
  }
  auto* const ours = dynamic_cast<CallContext*>(&context);
  if (ours == nullptr) return passage;
  ours->passage = std::move(passage);
  return {.refusal = ours->passage.refusal};
}

}  // namespace peerage
