// Instructions that touch memory. An address is a register (64 bits wide when inst.address64) plus
// inst.offset.
#pragma once

#include "lanes.h"

namespace ptx {

// Loads and stores of inst.vec elements of inst.bytes; r: the elements' registers, then the
// address. inst.mode of loads:
inline constexpr u8 kSignExtend = 1, kIntoWide = 2;  // of loads: into 64-bit registers
inline constexpr u8 kStrong = 4;                     // relaxed, acquire, release: as atomics are
inline constexpr u8 kPublishes = 8, kLearns = 16;    // release; acquire: without a fence

void LoadGlobal(Warp& w, const Inst& i, u32 m);
void StoreGlobal(Warp& w, const Inst& i, u32 m);
void LoadConstant(Warp& w, const Inst& i, u32 m);
void LoadShared(Warp& w, const Inst& i, u32 m);
void StoreShared(Warp& w, const Inst& i, u32 m);
void LoadLocal(Warp& w, const Inst& i, u32 m);
void StoreLocal(Warp& w, const Inst& i, u32 m);
void LoadParameter(Warp& w, const Inst& i, u32 m);  // of the kernel
void LoadGeneric(Warp& w, const Inst& i, u32 m);    // each lane's address says which space
void StoreGeneric(Warp& w, const Inst& i, u32 m);

// Atomics; inst.mode is the operation, inst.vec the element's type, inst.target has kPublishes and
// kLearns; r: d or none, address, b, c.
enum class Atomic : u8 {
  kAdd,
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
  kExchange,
  kCompare,
  kIncrement,
  kDecrement
};
enum class Element : u8 { kU16, kU32, kU64, kS32, kS64, kF32, kF64, kF16, kBf16, kF16x2, kBf16x2 };
void AtomicGlobal(Warp& w, const Inst& i, u32 m);
void AtomicShared(Warp& w, const Inst& i, u32 m);
void AtomicGeneric(Warp& w, const Inst& i, u32 m);

// cp.async of inst.bytes; r: shared address, global address (plus inst.target), bytes of the source
// or none. What it brings is there after the wait, not before.
void CopyAsync(Warp& w, const Inst& i, u32 m);
void CopyCommit(Warp& w, const Inst& i, u32 m);
void CopyWait(Warp& w, const Inst& i, u32 m);     // until inst.offset groups are left
void CopyWaitAll(Warp& w, const Inst& i, u32 m);  // uncommitted ones too

void LoadMatrix(Warp& w, const Inst& i, u32 m);  // inst.vec matrices; mode: 1 transposed

}  // namespace ptx
