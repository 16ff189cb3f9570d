#include "model/kernels/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <thread>
#include <vector>

#include "hwy/cache_control.h"

namespace peerage::kernels {
namespace {

constexpr int kSpins = 2000;  // about 30 us; then sleep, for the core may be wanted

// Returns the first value other than `old`.
uint32_t AwaitChange(const std::atomic<uint32_t>& word, uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    const uint32_t value = word.load(std::memory_order_acquire);
    if (value != old) return value;
    hwy::Pause();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

}  // namespace

// Each share of a loop is one word: the loop's number, and how many of its pieces are unclaimed. A
// thread that wakes late therefore finds nothing to claim instead of being waited for. It may read
// the members of `loop_` while the next loop is set up, hence atomics; a claim that succeeds proves
// that they were not changed, as they change only after every piece is claimed and done.
class ThreadPool::Team {
 public:
  explicit Team(int threads) : shares_(threads) {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this, i] { Work(i); });
    }
  }

  ~Team() {
    stop_.store(true, std::memory_order_relaxed);
    Announce();
  }

  int threads() const { return static_cast<int>(shares_.size()); }

  void Run(int64_t count, int64_t grain, Piece piece, const void* body) {
    const auto pieces = static_cast<uint32_t>((count + grain - 1) / grain);
    loop_.count.store(count, std::memory_order_relaxed);
    loop_.grain.store(grain, std::memory_order_relaxed);
    loop_.piece.store(piece, std::memory_order_relaxed);
    loop_.body.store(body, std::memory_order_relaxed);
    pending_.store(pieces, std::memory_order_relaxed);
    const uint64_t number = announced_.load(std::memory_order_relaxed) + uint64_t{1};
    for (int i = 0; i < threads(); ++i) {
      const uint32_t share = FirstPiece(pieces, i + 1) - FirstPiece(pieces, i);
      shares_[i].unclaimed.store(number << 32 | share, std::memory_order_release);
    }
    Announce();

    RunPieces(0);
    for (uint32_t left; (left = pending_.load(std::memory_order_acquire)) != 0;) {
      AwaitChange(pending_, left);
    }
  }

 private:
  struct Loop {
    std::atomic<int64_t> count, grain;
    std::atomic<Piece> piece;
    std::atomic<const void*> body;
  };
  struct alignas(64) Share {
    std::atomic<uint64_t> unclaimed = 0;  // number of the loop << 32 | pieces
  };

  uint32_t FirstPiece(uint32_t pieces, int thread) const {
    return static_cast<uint32_t>(uint64_t{pieces} * thread / shares_.size());
  }

  void Announce() {
    announced_.fetch_add(1, std::memory_order_release);
    announced_.notify_all();  // no system call when nobody sleeps
  }

  void Work(int thread) {
    for (uint32_t number = 0;;) {
      number = AwaitChange(announced_, number);
      if (stop_.load(std::memory_order_relaxed)) return;
      RunPieces(thread);
    }
  }

  // Runs what can be claimed: the thread's own share, then the others'.
  void RunPieces(int thread) {
    uint32_t done = 0;
    for (int i = 0; i < threads(); ++i) done += RunShare((thread + i) % threads(), thread);
    if (done != 0 && pending_.fetch_sub(done, std::memory_order_acq_rel) == done) {
      pending_.notify_all();
    }
  }

  uint32_t RunShare(int owner, int thread) {
    std::atomic<uint64_t>& unclaimed = shares_[owner].unclaimed;
    uint32_t done = 0;
    uint64_t word = unclaimed.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(word) != 0) {
      const int64_t count = loop_.count.load(std::memory_order_relaxed);
      const int64_t grain = loop_.grain.load(std::memory_order_relaxed);
      const Piece piece = loop_.piece.load(std::memory_order_relaxed);
      const void* body = loop_.body.load(std::memory_order_relaxed);
      if (!unclaimed.compare_exchange_strong(word, word - 1, std::memory_order_acq_rel)) continue;
      const auto pieces = static_cast<uint32_t>((count + grain - 1) / grain);
      const uint32_t left = static_cast<uint32_t>(word);
      const int64_t begin = (FirstPiece(pieces, owner + 1) - left) * grain;
      piece(body, begin, std::min(count, begin + grain), thread);
      ++done;
      word = unclaimed.load(std::memory_order_acquire);
    }
    return done;
  }

  Loop loop_{};
  std::vector<Share> shares_;
  alignas(64) std::atomic<uint32_t> announced_ = 0;  // number of the latest loop
  std::atomic<bool> stop_ = false;
  alignas(64) std::atomic<uint32_t> pending_ = 0;  // pieces that are not done
  std::vector<std::jthread> workers_;              // last: they end before what they use
};

ThreadPool::ThreadPool(int threads) : team_(std::make_unique<Team>(threads)) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return team_->threads(); }

void ThreadPool::Run(int64_t count, int64_t grain, Piece piece, const void* body) {
  assert(grain >= 1 && count / grain < int64_t{1} << 31);
  if (count <= 0) return;
  if (count <= grain || threads() == 1) return piece(body, 0, count, 0);
  team_->Run(count, grain, piece, body);
}

}  // namespace peerage::kernels
