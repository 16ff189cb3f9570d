#pragma once

#include <grpcpp/support/server_callback.h>

namespace peerage {

// Finishes a call of any kind without doing anything for it. Deletes itself.
template <typename Reactor>
class RefusedCall final : public Reactor {
 public:
  explicit RefusedCall(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }

 private:
  ~RefusedCall() override = default;
};

}  // namespace peerage
