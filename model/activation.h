#pragma once

namespace peerage {

// What a hidden unit becomes. kGelu is the exact one (erf), kGeluTanh its tanh approximation.
enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

}  // namespace peerage
