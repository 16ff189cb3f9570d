#pragma once

#include <optional>
#include <string>

#include "server/door/descriptor.h"

namespace peerage {

// Two connected sockets of this machine, which do not block.
struct SocketPair {
  Descriptor ours;
  Descriptor theirs;
  // Of ours, in the abstract namespace of Unix sockets: what the holder of the other gets from
  // getpeername. Unlike a descriptor's number it is never used again in this process.
  std::string name;
};

// Nothing, with errno, when there are no descriptors left.
std::optional<SocketPair> MakeSocketPair();

}  // namespace peerage
