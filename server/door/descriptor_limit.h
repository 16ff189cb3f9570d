#pragma once

#include <cstdint>

namespace peerage {

// A connection has a socket, and a pair of them to whoever serves.
inline constexpr int64_t kDescriptorsPerConnection = 3;

// Lets the process have as many file descriptors as the system allows it (RLIMIT_NOFILE's hard
// limit). How many those are.
int64_t RaiseDescriptorLimit();

// How many of a limit of descriptors are left to the admin port's connections, files, event loops
// and what libraries open: 500, or half of all where these are few.
int64_t OtherDescriptors(int64_t descriptors);

// How many connections a limit of descriptors has room for, at least one.
int64_t ConnectionsFor(int64_t descriptors);

}  // namespace peerage
