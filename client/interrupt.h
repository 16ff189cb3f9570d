#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace peerage::client {

// Calls `on_interrupt` from a thread of its own at the first Ctrl-C (SIGINT); at a second one the
// process ends at once with exit code 130.
class Interrupt {
 public:
  // Call before any thread starts, so that all of them inherit the blocked signal; from then on
  // Ctrl-C waits for an Interrupt.
  static void Block();

  explicit Interrupt(std::function<void()> on_interrupt);
  ~Interrupt();

  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool raised() const { return raised_; }

 private:
  void Wait();

  const std::function<void()> on_interrupt_;
  std::atomic<bool> raised_ = false;
  std::thread thread_;
};

}  // namespace peerage::client
