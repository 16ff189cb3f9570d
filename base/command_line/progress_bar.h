#pragma once

#include <cstdint>
#include <string>

namespace peerage {

// Shows on standard error how far a long piece of work is: a bar that is drawn over and over on a
// terminal, and a line for every quarter elsewhere.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { Clear(); }

  // `of_what`: "of 12.3 MB".
  void Show(uint64_t done, uint64_t total, const std::string& of_what);

  // Takes the bar away.
  void Clear();

 private:
  const bool terminal_;
  int shown_ = -1;  // percent, of the last bar or line
};

}  // namespace peerage
