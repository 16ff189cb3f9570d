#pragma once

#include <string>
#include <vector>

#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// One row per continuation: the log-probability of the whole, per scored token, bits per byte,
// whether greedy decoding would have written it, and its text.
std::string ScoreTable(const v1::ScoreResponse& response, const std::vector<std::string>& texts);

}  // namespace peerage::client
