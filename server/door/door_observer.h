#pragma once

#include "server/door/refusal.h"

namespace peerage {

// Hears what happens at a door.
//
// Threads: called from the door's, several at a time; must not wait.
class DoorObserver {
 public:
  virtual ~DoorObserver() = default;

  // A connection was let in, and one that was has ended.
  virtual void OnConnected() = 0;
  virtual void OnDisconnected() = 0;
  // A connection was not let in or is being ended, or a call was turned away.
  virtual void OnRefusal(Refusal refusal) = 0;
};

}  // namespace peerage
