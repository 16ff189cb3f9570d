#include "server/rpc/engine_call.h"

namespace peerage {

void EngineCall::Accepted(RequestHandle handle) {
  {
    absl::MutexLock lock(&mu_);
    handle_ = handle;
    if (!cancelled_) return;
  }
  backend_.engine->Cancel(handle);
}

void EngineCall::CancelRequest() {
  std::optional<RequestHandle> handle;
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    handle = handle_;
  }
  if (handle.has_value()) backend_.engine->Cancel(*handle);
}

void EngineCall::Answer(std::function<void()> part) {
  if (!trace_.wanted()) return part();
  backend_.answers->Run(std::move(part));
}

}  // namespace peerage
