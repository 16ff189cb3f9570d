#pragma once

#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/engine/observer.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_usage_reader.h"
#include "server/log/log.h"
#include "server/rpc/request/served_model.h"
#include "server/rpc/slow_readers.h"
#include "server/rpc/text_pool.h"

namespace peerage {

class Door;

// What the services stand on. All outlive the services.
struct Backend {
  Engine* engine = nullptr;
  ExpertUsageReader* expert_usage = nullptr;  // of the engine's model
  const ServedModel* model = nullptr;
  const Clock* clock = nullptr;        // the engine's
  EngineObserver* observer = nullptr;  // the engine's; told of what never reaches the engine
  BackgroundLane* answers = nullptr;   // where answers are made that would hold up a worker
  TextPool* texts = nullptr;           // where what clients wrote is read
  SlowReaders* readers = nullptr;      // of the answers
  Log* log = nullptr;
  const Door* door = nullptr;  // by which clients came, if by any
  bool log_content = false;    // what requests hold is logged
};

}  // namespace peerage
