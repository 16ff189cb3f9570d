// A block of a launch while it runs.
#pragma once

#include <random>

#include "lanes.h"

namespace ptx {

class Block {
 public:
  // For the blocks of a launch, one after the other.
  Block(const Launch& launch, const Memory& memory, const Options& options,
        std::set<std::string>& reports, LaunchState& shared_state);
  void Run(Dim id, u32 serial, std::mt19937_64* random);
  Profile profile() const;

 private:
  void MakeWarp(Warp& w, int index);
  void ResetMemory();
  void Reset(Warp& w);

  // Until all lanes of the warp wait at a barrier or have left, or it yields.
  void RunWarp(Warp& w);
  Group NextGroup(Warp& w);
  bool RunGroup(Warp& w, Group group);  // false: the warp lets others go on
  bool Branch(Warp& w, const Inst& i, i32 pc, u32 active, u32 m);
  void IndexedBranch(Warp& w, const Inst& i, u32 m);
  void Exit(Warp& w, const Inst& i, u32 m);
  bool Collective(Warp& w, const Inst& i, u32 m);

  // ---- barriers
  bool Arrive(Warp& w, const Inst& i, u32 m);  // true: the lanes go on
  void Complete(Barrier& barrier);
  void Release(Barrier& barrier, const Waiter& waiter);
  bool CompleteSomething();  // false: nothing waits
  [[noreturn]] void FailToProgress();
  u32 LiveThreads() const;

  const Launch& launch_;
  const Kernel& kernel_;
  const int threads_;
  BlockState state_;
  std::vector<u8> files_;
  std::vector<Warp> warps_;
  u64 slice_ = 0;
};

}  // namespace ptx
