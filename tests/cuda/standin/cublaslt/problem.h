#pragma once

#include "descriptors.h"

namespace standin {

// A product and the layouts of its matrices.
struct Problem {
  Product product;
  Layout a, b, c, d;

  // False: CUBLAS_STATUS_INVALID_VALUE. Shapes agree, rows do not overlap.
  bool IsValid() const;
  // False: CUBLAS_STATUS_NOT_SUPPORTED.
  bool IsSupported() const;
};

// How it is computed when the caller has so much workspace and promises such alignments.
Algorithm Choose(const Problem& problem, const Preference& preference);

}  // namespace standin
