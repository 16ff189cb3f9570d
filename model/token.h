#pragma once

#include <cstdint>

namespace peerage {

// Index into the vocabulary; every id below the model's vocabulary size is valid.
using TokenId = uint32_t;

}  // namespace peerage
