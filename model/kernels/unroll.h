#pragma once

// Before a loop: it is unrolled as a whole. GCC 12 keeps an array of vectors in memory unless every
// loop over it is.
#ifdef __clang__
#define PEERAGE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEERAGE_UNROLL _Pragma("GCC unroll 32")
#endif
