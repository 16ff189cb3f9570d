#include "base/command_line/progress_bar.h"

#include <unistd.h>

#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace peerage {
namespace {

constexpr int kColumns = 40;
constexpr int kLineEvery = 25;  // percent

}  // namespace

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressBar::Clear() {
  if (terminal_ && shown_ >= 0) std::cerr << "\r\033[K" << std::flush;
  shown_ = -1;
}

void ProgressBar::Show(uint64_t done, uint64_t total, const std::string& of_what) {
  int percent = total == 0 ? 100 : static_cast<int>(done * 100 / total);
  if (!terminal_) percent -= percent % kLineEvery;
  if (percent == shown_ || (!terminal_ && percent == 0)) return;
  shown_ = percent;
  const std::string amount = absl::StrFormat("%3d %% %s", percent, of_what);
  if (!terminal_) {
    std::cerr << amount << "\n";
    return;
  }
  const int filled = percent * kColumns / 100;
  std::cerr << "\r[" << std::string(filled, '#') << std::string(kColumns - filled, ' ') << "] "
            << amount << std::flush;
}

}  // namespace peerage
