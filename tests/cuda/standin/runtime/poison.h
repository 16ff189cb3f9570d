#pragma once

#include <cstddef>

namespace standin {

// Fills memory with 0xff, a NaN in every format. Pages of a large range are shared until somebody
// writes to them, so that a gigabyte costs nothing. The range must be private anonymous memory.
void Poison(void* begin, size_t bytes);

}  // namespace standin
