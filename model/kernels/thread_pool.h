#pragma once

#include <cstdint>
#include <memory>

namespace peerage::kernels {

// A fixed team of threads that run one loop at a time. The caller is one of them.
//
// Work is claimed in pieces of `grain` indices. Each thread begins with an own contiguous share,
// the same in equal loops, then helps the others: a core that is taken away for a moment costs the
// piece it holds, and a thread that comes late is not waited for. Waiting threads spin for about 30
// us, then sleep.
//
// Threads: For from one thread at a time; not re-entrant.
class ThreadPool {
 public:
  // Precondition: threads >= 1. threads - 1 are started.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  int threads() const;

  // Calls body(begin, end, thread) for pieces that together cover [0, count), and returns when all
  // are done. Everything written by the bodies is then visible to the caller. With one thread, or
  // count <= grain, that is one call, inline.
  // `body` must not throw. Nothing is allocated.
  // Precondition: grain >= 1, count / grain < 2^31.
  template <typename Body>
  void For(int64_t count, int64_t grain, const Body& body) {
    Run(
        count, grain,
        [](const void* b, int64_t begin, int64_t end, int thread) {
          (*static_cast<const Body*>(b))(begin, end, thread);
        },
        &body);
  }

 private:
  using Piece = void (*)(const void* body, int64_t begin, int64_t end, int thread);
  void Run(int64_t count, int64_t grain, Piece piece, const void* body);

  class Team;
  std::unique_ptr<Team> team_;
};

}  // namespace peerage::kernels
