// The 16 barriers of a block, and the order of accesses that they make.
#include <algorithm>
#include <bit>

#include "block.h"
#include "lanewise.h"

namespace ptx {
namespace {

constexpr u8 kArrive = 1, kCount = 2, kAllTrue = 3, kAnyTrue = 4;

void Join(Clock& into, const Clock& from) {
  for (size_t v = 0; v < into.size(); ++v) into[v] = std::max(into[v], from[v]);
}

}  // namespace

bool Block::Arrive(Warp& w, const Inst& i, u32 m) {
  const int lane = std::countr_zero(m);
  const u32 number = w.w(i.r[1])[lane];
  if (number >= state_.barriers.size()) {
    throw Error("no such barrier: " + Where(state_, i, w.first_thread + lane));
  }
  if (i.vec == 1 && m != w.live) state_.Report(i, w.first_thread, "divergent barrier");
  Barrier& b = state_.barriers[number];
  const u32 wanted = i.r[2] == kNone ? 0 : w.w(i.r[2])[lane];
  if (wanted % kLanes != 0) {
    throw Error("a barrier of part of a warp: " + Where(state_, i, w.first_thread + lane));
  }
  if (b.arrived != 0 && b.wanted != wanted) state_.Report(i, w.first_thread, "different barriers");
  for (const Waiter& other : b.waiters) {
    if (other.inst != &i && wanted == 0) {
      state_.Report(i, w.first_thread, "different barriers");
      break;
    }
  }
  b.wanted = wanted;
  // With a count, a warp that is there as a whole counts as one, however few its threads are.
  const bool whole = wanted != 0 && m == w.live;
  b.arrived += whole ? u32{kLanes} : static_cast<u32>(std::popcount(m));
  if (i.r[3] != kNone) {
    const u32 p = *w.w(i.r[3]) & m;
    b.count += static_cast<u32>(std::popcount(p));
    b.all = b.all && p == m;
  }
  // What the warp did until now comes before what others do after the barrier.
  w.clock[static_cast<size_t>(w.index)] = ++state_.now;
  Join(b.clock, w.clock);
  if (i.mode != kArrive) {
    b.waiters.push_back({&w, m, &i});
    w.blocked |= m;
  }
  if (wanted != 0 && b.arrived >= wanted) {
    if (b.arrived > wanted) state_.Report(i, w.first_thread, "more threads than a barrier wants");
    Complete(b);
  }
  return i.mode == kArrive;
}

void Block::Complete(Barrier& barrier) {
  Barrier done = std::move(barrier);
  barrier = {};
  ++state_.now;
  ++state_.counters.barriers;
  for (const Waiter& waiter : done.waiters) Release(done, waiter);
}

void Block::Release(Barrier& barrier, const Waiter& waiter) {
  Warp& w = *waiter.warp;
  const Inst& i = *waiter.inst;
  if (i.mode == kCount) {
    u32* d = w.w(i.r[0]);
    ForLanes(waiter.mask, [&](int l) { d[l] = barrier.count; });
  } else if (i.mode == kAllTrue || i.mode == kAnyTrue) {
    const bool yes = i.mode == kAllTrue ? barrier.all : barrier.count != 0;
    SetMask(w, i.r[0], waiter.mask, yes ? kAll : 0);
  }
  w.blocked &= ~waiter.mask;
  Join(w.clock, barrier.clock);
  w.clock[static_cast<size_t>(w.index)] = state_.now;
  for (Group& g : w.groups) g.waits = false;
  w.groups.push_back({static_cast<i32>(&i - kernel_.code.data()) + 1, waiter.mask});
}

u32 Block::LiveThreads() const {
  u32 live = 0;
  for (const Warp& w : warps_) live += static_cast<u32>(std::popcount(w.live));
  return live;
}

bool Block::CompleteSomething() {
  bool waits = false;
  const u32 live = LiveThreads();
  for (Barrier& b : state_.barriers) {
    waits = waits || !b.waiters.empty();
    if (b.arrived == 0 || b.wanted != 0 || b.arrived != live) continue;
    for (const Warp& w : warps_) {
      if (w.live != w.existing && !b.waiters.empty()) {
        state_.Report(*b.waiters[0].inst, w.first_thread, "barrier after some threads returned");
      }
    }
    Complete(b);
    return true;
  }
  // Barriers that completed while warps ran have left groups.
  const bool runnable = std::any_of(warps_.begin(), warps_.end(), [](const Warp& w) {
    return std::any_of(w.groups.begin(), w.groups.end(), [](const Group& g) { return !g.waits; });
  });
  if (runnable) return true;
  if (waits) FailToProgress();
  for (const Warp& w : warps_) {
    if (!w.groups.empty()) FailToProgress();
  }
  return false;
}

void Block::FailToProgress() {
  for (const Barrier& b : state_.barriers) {
    if (b.waiters.empty()) continue;
    const Waiter& waiter = b.waiters[0];
    throw Error(
        "a barrier waits for threads that never come: " +
        Where(state_, *waiter.inst, waiter.warp->first_thread + std::countr_zero(waiter.mask)));
  }
  throw Error("warps wait for each other: " + Where(state_, kernel_.code[0], 0));
}

}  // namespace ptx
