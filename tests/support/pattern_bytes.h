#pragma once

#include <cstddef>
#include <string>

namespace peerage {

// So many bytes, none equal to its neighbours, so that a misplaced one is seen.
inline std::string PatternBytes(size_t count, unsigned seed = 1) {
  std::string bytes(count, '\0');
  unsigned state = seed * 2654435761u + 1;
  for (char& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

}  // namespace peerage
