#pragma once

#include <string>

namespace peerage {

// Sends spdlog's default logger to stderr in the server's one format; stdout stays free for the
// ready line. `level` is one of --log-level's. Called once, by main, before any thread starts.
void StartLog(const std::string& level);

}  // namespace peerage
