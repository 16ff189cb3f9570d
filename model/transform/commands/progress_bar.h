#pragma once

#include "model/transform/progress.h"

namespace peerage::transform {

// Shows on standard error how far a long piece of work is: a bar that is drawn over and over on a
// terminal, and a line for every quarter elsewhere.
class ProgressBar {
 public:
  ProgressBar();
  // Takes the bar away.
  ~ProgressBar();

  void Show(const Progress& progress);

 private:
  const bool terminal_;
  int shown_ = -1;  // percent, of the last bar or line
};

}  // namespace peerage::transform
