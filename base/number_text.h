#pragma once

#include <cstdint>
#include <string>

namespace peerage {

// Numbers as people read them.
std::string FormatBytes(uint64_t bytes);  // "98.1 MiB"
std::string FormatCount(uint64_t count);  // "134.5M"
std::string FormatWhole(uint64_t count);  // "1,048,576"

// The double with the fewest digits that is the same float: 1e-05, not 9.999999747378752e-06.
double ShortestDecimal(float value);

}  // namespace peerage
