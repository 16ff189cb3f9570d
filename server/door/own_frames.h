#pragma once

#include <cstdint>
#include <string>

#include "server/door/refusal.h"

namespace peerage {

// What the door itself has to say in HTTP/2. It must not decode headers, and so its own are written
// such that no decoder has to remember them.

// The connection ends; streams above `newest` have not reached the server and never will.
std::string GoAwayFrame(uint32_t newest, Refusal refusal);

// To the server: the client wants no answer any more.
std::string ResetFrame(uint32_t stream);

// To the client, as a whole answer: RESOURCE_EXHAUSTED, to be tried again in a second.
std::string TurnedAwayAnswer(uint32_t stream);

}  // namespace peerage
