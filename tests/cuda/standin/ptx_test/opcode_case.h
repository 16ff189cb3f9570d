#pragma once

#include <bit>
#include <functional>
#include <string>
#include <vector>

#include "ptx.h"

namespace ptx {

// An instruction against the host: `text` computes %d from %a, %b, %c (and the predicates %q0,
// %q1), whose types are named; the host computes the same from bits.
struct OpcodeCase {
  std::string text;
  std::string result;
  std::vector<std::string> operands;
  std::function<u64(u64 a, u64 b, u64 c)> host;
  double tolerance = 0;  // relative, of f32 results
};

// Runs it with all edge values of the types combined, and expects the same bits (any NaN is as good
// as another).
void Check(const OpcodeCase& c);

// Edge values of a type, as bits.
std::vector<u64> EdgeValues(const std::string& type);

inline float F(u64 bits) { return std::bit_cast<float>(static_cast<u32>(bits)); }
inline double D(u64 bits) { return std::bit_cast<double>(bits); }
inline u64 B(float f) { return std::bit_cast<u32>(f); }
inline u64 B(double d) { return std::bit_cast<u64>(d); }

}  // namespace ptx
