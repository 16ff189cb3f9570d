#pragma once

namespace peerage {

// Ctrl-C (SIGINT) and SIGTERM, for work that leaves files behind when it ends at once.
class Interruption {
 public:
  // From now on the first signal is only remembered; a second one ends the process as ever. A
  // signal that is ignored (a job in the background) stays so.
  static void Watch();

  // The number of the signal that came, or 0.
  static int signal();
};

}  // namespace peerage
