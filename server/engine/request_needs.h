#pragma once

#include <algorithm>
#include <cstdint>

namespace peerage {

// What a request must be promised at its admission, so that it can always go on to its end without
// taking anything from another one.
struct RequestNeeds {
  int64_t blocks = 0;     // KV blocks
  int64_t sequences = 0;  // computed at the same time
};

inline RequestNeeds operator+(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = a.blocks + b.blocks, .sequences = a.sequences + b.sequences};
}
inline RequestNeeds operator-(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = a.blocks - b.blocks, .sequences = a.sequences - b.sequences};
}
// In every respect.
inline bool IsWithin(const RequestNeeds& a, const RequestNeeds& b) {
  return a.blocks <= b.blocks && a.sequences <= b.sequences;
}
// Each of them by itself.
inline RequestNeeds LargerOf(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = std::max(a.blocks, b.blocks), .sequences = std::max(a.sequences, b.sequences)};
}
inline RequestNeeds SmallerOf(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = std::min(a.blocks, b.blocks), .sequences = std::min(a.sequences, b.sequences)};
}

}  // namespace peerage
