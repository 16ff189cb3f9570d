#pragma once

#include <memory>
#include <utility>

namespace peerage {

// A call's object that others share with gRPC, such as the engine that answers it: it lives until
// gRPC is done and they have let go of it. Reactor is gRPC's class of the call.
template <typename Reactor>
class SharedReactor : public Reactor {
 public:
  // From here until OnDone gRPC holds the object, too. To be called before the call can end.
  void HoldUntilDone(std::shared_ptr<SharedReactor> self) { self_ = std::move(self); }

  void OnDone() final { const std::shared_ptr<SharedReactor> last_hold = std::move(self_); }

 private:
  std::shared_ptr<SharedReactor> self_;
};

}  // namespace peerage
