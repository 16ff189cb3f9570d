// The addresses of a warp's access, and the checks and counts that they go through.
#pragma once

#include "lanes.h"

namespace ptx {

struct Addresses {
  alignas(64) u64 v[kLanes];
};

// Of inst's register plus inst.offset.
void Collect(Warp& w, const Inst& i, u32 reg, Addresses& out);
// Whether all lanes take part and each is right behind the one before.
bool IsContiguous(const Addresses& a, u32 m, u32 bytes);

void CheckAligned(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes);

// ---- global memory
enum class Access : u8 { kRead, kWrite, kAtomic };
void CheckGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes);
// Races between blocks and reads of what nobody wrote.
void TrackGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, Access access);
// An atomic at `address` after which `w`'s block knows what those that published there did, and
// they that come later what it did.
void PassKnowledge(Warp& w, u64 address, bool publishes);
void CountGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, bool store);

// ---- shared memory: addresses within the block's
// Bounds, red zones, races and reads of what nobody wrote.
void CheckShared(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, Access access);
void CheckSharedBounds(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes);
void TrackShared(Warp& w, const Inst& i, u64 address, u32 bytes, int lane, Access access);
void CountShared(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes);

}  // namespace ptx
