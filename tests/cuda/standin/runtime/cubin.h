#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace standin {

// Registers a thread of each kernel, as ptxas wrote them into a cubin. Empty when it is not read.
std::map<std::string, int> RegisterCounts(std::span<const uint8_t> elf);

}  // namespace standin
