#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/identity/authorizer.h"

namespace peerage {

// Whether a call was let in.
struct Passage {
  std::string host;                        // the caller's (PeerOf); empty where it is not known
  absl::Status refusal;                    // OK: it was
  std::shared_ptr<const Visitor> visitor;  // none where everybody may do everything
};

// gRPC's context of a call, with what the gate decided before the call's handler runs.
class CallContext final : public grpc::CallbackServerContext {
 public:
  Passage passage;
};

// Of a call of ours. A context that gRPC did not get from our gate says nothing: it is open.
inline Passage PassageOf(const grpc::ServerContextBase& context) {
  const auto* ours = dynamic_cast<const CallContext*>(&context);
  return ours == nullptr ? Passage() : ours->passage;
}

// Who was let in; empty where nobody asks.
inline std::string PrincipalOf(const Passage& passage) {
  return passage.visitor == nullptr ? std::string() : passage.visitor->principal();
}

}  // namespace peerage
