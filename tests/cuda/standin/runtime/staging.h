#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host_memory.h"

namespace standin {

// What a piece of work does to pinned host memory when it runs.
struct HostAccess {
  std::vector<HostSpan> reads, writes;
  bool calls_host = false;  // a host function, which may write anywhere
};

// Watches pinned host memory between the moment that work is queued and the moment that it runs:
// the program may not change what will be read, nor look at what will be written. What will be
// written is filled with NaN, so that who looks too early sees it.
class Staging {
 public:
  struct Watch {
    HostAccess access;
    std::vector<std::optional<uint64_t>> hashes;  // of the reads; none: other work writes there
  };
  Watch Queue(HostAccess access);
  // To be called when the work runs. What is wrong, or nothing.
  std::string Run(const Watch& watch);

 private:
  std::vector<HostSpan> reads_, writes_;  // of what is queued
  int host_functions_ = 0;
};

}  // namespace standin
