#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace peerage::client {

// Calls `on_interrupt` from a thread of its own at a Ctrl-C (SIGINT). When it returns true the
// program goes on as if nothing had been; else a second Ctrl-C ends the process at once with exit
// code 130.
class Interrupt {
 public:
  // Call before any thread starts, so that all of them inherit the blocked signal; from then on
  // Ctrl-C waits for an Interrupt.
  static void Block();

  explicit Interrupt(std::function<bool()> on_interrupt);
  ~Interrupt();

  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Whether there was a Ctrl-C that the program is to end for.
  bool raised() const { return raised_; }

 private:
  void Wait();

  const std::function<bool()> on_interrupt_;
  std::atomic<bool> raised_ = false;
  std::thread thread_;
};

}  // namespace peerage::client
