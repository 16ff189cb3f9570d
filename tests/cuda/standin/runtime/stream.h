#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "graph.h"

namespace standin {

struct Device;

// A point in a stream's work: its first `ticket` pieces are done.
struct Moment {
  std::shared_ptr<Stream> stream;
  uint64_t ticket = 0;
};

// Work in order. Nothing here runs by itself: schedule.h.
struct Stream {
  struct Piece {
    Work work;
    std::vector<Moment> after;  // of other streams
    Staging::Watch watch;
  };
  Device* device = nullptr;
  unsigned flags = cudaStreamDefault;
  int priority = 0;
  uint64_t id = 0;
  std::deque<Piece> queue;
  uint64_t issued = 0, done = 0;
  bool running = false;  // a piece, perhaps in another thread (host functions run unlocked)
  std::shared_ptr<Capture> capture;
  std::vector<size_t> frontier;  // of the capture: what the next piece comes after
};

struct Event {
  Device* device = nullptr;
  unsigned flags = 0;
  Moment recorded;  // no stream: never
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
  // Recorded while capturing: the place in the capture instead.
  std::shared_ptr<Capture> capture;
  std::vector<size_t> frontier;
};

}  // namespace standin
