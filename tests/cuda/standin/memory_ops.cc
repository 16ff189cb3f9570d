// Loads and stores: checked, counted, then done.
#include "memory_ops.h"

#include <algorithm>

#include "access.h"
#include "lanewise.h"

namespace ptx {
namespace {

template <class T, class S>
void LoadLanes(Warp& w, const Inst& i, u32 m, const u8* base, const Addresses& a) {
  for (int v = 0; v < i.vec; ++v) {
    S* d = w.at<S>(i.r[static_cast<size_t>(v)]);
    ForLanes(m, [&](int l) {
      T x;
      std::memcpy(&x, base + a.v[l] + static_cast<size_t>(v) * sizeof(T), sizeof(T));
      d[l] = static_cast<S>(x);
    });
  }
}
template <class T, class S>
void StoreLanes(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  for (int v = 0; v < i.vec; ++v) {
    const S* d = w.at<S>(i.r[static_cast<size_t>(v)]);
    for (u32 rest = m; rest != 0; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      const T x = static_cast<T>(d[l]);
      std::memcpy(base + a.v[l] + static_cast<size_t>(v) * sizeof(T), &x, sizeof(T));
    }
  }
}

template <class S>
void LoadInto(Warp& w, const Inst& i, u32 m, const u8* base, const Addresses& a) {
  const bool is_signed = (i.mode & kSignExtend) != 0;
  switch (i.bytes) {
    case 1:
      return is_signed ? LoadLanes<i8, S>(w, i, m, base, a) : LoadLanes<u8, S>(w, i, m, base, a);
    case 2:
      return is_signed ? LoadLanes<i16, S>(w, i, m, base, a) : LoadLanes<u16, S>(w, i, m, base, a);
    default:
      return is_signed ? LoadLanes<i32, S>(w, i, m, base, a) : LoadLanes<u32, S>(w, i, m, base, a);
  }
}
void Load(Warp& w, const Inst& i, u32 m, const u8* base, const Addresses& a) {
  if (i.bytes == 8) return LoadLanes<u64, u64>(w, i, m, base, a);
  (i.mode & kIntoWide) != 0 ? LoadInto<u64>(w, i, m, base, a) : LoadInto<u32>(w, i, m, base, a);
}
void Store(Warp& w, const Inst& i, u32 m, u8* base, const Addresses& a) {
  switch (i.bytes) {
    case 1:
      return StoreLanes<u8, u32>(w, i, m, base, a);
    case 2:
      return StoreLanes<u16, u32>(w, i, m, base, a);
    case 4:
      return StoreLanes<u32, u32>(w, i, m, base, a);
    default:
      return StoreLanes<u64, u64>(w, i, m, base, a);
  }
}

void Pass(Warp& w, const Inst& i, const Addresses& a, u32 m) {
  for (; m; m &= m - 1) PassKnowledge(w, a.v[std::countr_zero(m)], (i.mode & kPublishes) != 0);
}

void LoadGlobalAt(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  const u32 bytes = u32{i.bytes} * i.vec;
  CheckGlobal(w, i, a, m, bytes);
  CheckAligned(w, i, a, m, bytes);
  CountGlobal(w, i, a, m, bytes, false);
  if ((i.mode & kStrong) == 0) {
    TrackGlobal(w, i, a, m, bytes, Access::kRead);
  } else if ((i.mode & kLearns) != 0) {
    Pass(w, i, a, m);
  }
  Load(w, i, m, w.block->memory->At(0), a);
}
void StoreGlobalAt(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  const u32 bytes = u32{i.bytes} * i.vec;
  CheckGlobal(w, i, a, m, bytes);
  CheckAligned(w, i, a, m, bytes);
  CountGlobal(w, i, a, m, bytes, true);
  const bool strong = (i.mode & kStrong) != 0;
  TrackGlobal(w, i, a, m, bytes, strong ? Access::kAtomic : Access::kWrite);
  if (strong) Pass(w, i, a, m);
  Store(w, i, m, w.block->memory->At(0), a);
}
void LoadSharedAt(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  const u32 bytes = u32{i.bytes} * i.vec;
  CheckAligned(w, i, a, m, bytes);
  CheckShared(w, i, a, m, bytes, Access::kRead);
  CountShared(w, i, a, m, bytes);
  Load(w, i, m, w.block->shared.data(), a);
}
void StoreSharedAt(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  const u32 bytes = u32{i.bytes} * i.vec;
  CheckAligned(w, i, a, m, bytes);
  CheckShared(w, i, a, m, bytes, Access::kWrite);
  CountShared(w, i, a, m, bytes);
  Store(w, i, m, w.block->shared.data(), a);
}

// Each lane has a part of local memory for itself.
void ToLocal(Warp& w, const Inst& i, u32 m, Addresses& a) {
  const u64 size = w.block->launch->kernel->local_bytes, bytes = u64{i.bytes} * i.vec;
  CheckAligned(w, i, a, m, static_cast<u32>(bytes));
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    if (a.v[l] + bytes > size) {
      throw Error("local access out of bounds: " + Where(*w.block, i, w.first_thread + l));
    }
    a.v[l] += size * static_cast<u64>(w.first_thread + l);
  }
}
void LoadParameterAt(Warp& w, const Inst& i, u32 m, const Addresses& a) {
  const Launch& launch = *w.block->launch;
  const u64 bytes = u64{i.bytes} * i.vec;
  for (u32 rest = m; rest != 0; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    if (a.v[l] + bytes > launch.kernel->parameter_bytes) {
      throw Error("parameter out of bounds: " + Where(*w.block, i, w.first_thread + l));
    }
  }
  Load(w, i, m, launch.parameters.data(), a);
}

Addresses InWindow(Warp& w, const Inst& i, u32 reg, u64 window) {
  Addresses a;
  Collect(w, i, reg, a);
  for (u64& x : a.v) x &= ~window;
  return a;
}

// Calls `access` for the lanes of each space that there is.
template <class F>
void BySpace(Warp& w, const Inst& i, u32 m, F access) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  while (m != 0) {
    const u64 window = a.v[std::countr_zero(m)] & kWindows;
    u32 same = 0;
    for (u32 rest = m; rest != 0; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      if ((a.v[l] & kWindows) == window) same |= 1u << l;
    }
    Addresses inside = a;
    for (u64& x : inside.v) x &= ~window;
    access(window, same, inside);
    m &= ~same;
  }
}

}  // namespace

void LoadGlobal(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  LoadGlobalAt(w, i, m, a);
}
void StoreGlobal(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  StoreGlobalAt(w, i, m, a);
}
void LoadConstant(Warp& w, const Inst& i, u32 m) {
  Addresses a;
  Collect(w, i, i.r[i.vec], a);
  CheckGlobal(w, i, a, m, u32{i.bytes} * i.vec);
  CheckAligned(w, i, a, m, u32{i.bytes} * i.vec);
  Load(w, i, m, w.block->memory->At(0), a);
}
void LoadShared(Warp& w, const Inst& i, u32 m) {
  LoadSharedAt(w, i, m, InWindow(w, i, i.r[i.vec], kSharedWindow));
}
void StoreShared(Warp& w, const Inst& i, u32 m) {
  StoreSharedAt(w, i, m, InWindow(w, i, i.r[i.vec], kSharedWindow));
}
void LoadLocal(Warp& w, const Inst& i, u32 m) {
  Addresses a = InWindow(w, i, i.r[i.vec], kLocalWindow);
  ToLocal(w, i, m, a);
  Load(w, i, m, w.block->local.data(), a);
}
void StoreLocal(Warp& w, const Inst& i, u32 m) {
  Addresses a = InWindow(w, i, i.r[i.vec], kLocalWindow);
  ToLocal(w, i, m, a);
  Store(w, i, m, w.block->local.data(), a);
}
void LoadParameter(Warp& w, const Inst& i, u32 m) {
  LoadParameterAt(w, i, m, InWindow(w, i, i.r[i.vec], kParameterWindow));
}

void LoadGeneric(Warp& w, const Inst& i, u32 m) {
  BySpace(w, i, m, [&](u64 window, u32 lanes, Addresses& a) {
    if (window == 0) return LoadGlobalAt(w, i, lanes, a);
    if (window == kSharedWindow) return LoadSharedAt(w, i, lanes, a);
    if (window == kParameterWindow) return LoadParameterAt(w, i, lanes, a);
    ToLocal(w, i, lanes, a);
    Load(w, i, lanes, w.block->local.data(), a);
  });
}
void StoreGeneric(Warp& w, const Inst& i, u32 m) {
  BySpace(w, i, m, [&](u64 window, u32 lanes, Addresses& a) {
    if (window == 0) return StoreGlobalAt(w, i, lanes, a);
    if (window == kSharedWindow) return StoreSharedAt(w, i, lanes, a);
    if (window == kParameterWindow) {
      throw Error("store to a parameter: " + Where(*w.block, i, w.first_thread));
    }
    ToLocal(w, i, lanes, a);
    Store(w, i, lanes, w.block->local.data(), a);
  });
}

}  // namespace ptx
