#pragma once

#include <cstdint>
#include <string>

namespace peerage {

// Bytes that this process can still take without swapping or being killed: the kernel's
// MemAvailable, or less where a memory cgroup (v1 or v2, any level) leaves less. Page cache that a
// cgroup could give back counts as free, as the kubelet counts it.
//
// `root` is "/" outside tests. Returns 0 when /proc/meminfo cannot be read.
int64_t AvailableMemory(const std::string& root = "/");

}  // namespace peerage
