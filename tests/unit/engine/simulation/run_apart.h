#pragma once

#include <functional>
#include <string>

namespace peerage {

// What `run` returns, in a process of its own: one that crashes or hangs is told of as well.
// Nothing is printed. Precondition: this process has one thread.
std::string RunApart(const std::function<std::string()>& run);

}  // namespace peerage
