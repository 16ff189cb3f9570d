#include "access.h"

#include <algorithm>
#include <bit>

namespace ptx {

void Collect(Warp& w, const Inst& i, u32 reg, Addresses& out) {
  const u64 offset = static_cast<u64>(i.offset);
  if (i.address64 != 0) {
    const u64* a = w.q(reg);
    for (int l = 0; l < kLanes; ++l) out.v[l] = a[l] + offset;
  } else {
    const u32* a = w.w(reg);
    for (int l = 0; l < kLanes; ++l) out.v[l] = u64{a[l]} + offset;
  }
}

bool IsContiguous(const Addresses& a, u32 m, u32 bytes) {
  if (m != kAll) return false;
  u64 different = 0;
  for (int l = 0; l < kLanes; ++l) {
    different |= a.v[l] ^ (a.v[0] + static_cast<u64>(l) * bytes);
  }
  return different == 0;
}

void CheckAligned(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  u64 low = 0;
  for (u32 rest = m; rest != 0; rest &= rest - 1) low |= a.v[std::countr_zero(rest)];
  if ((low & (bytes - 1)) == 0) return;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    if ((a.v[l] & (bytes - 1)) != 0) {
      throw Error("misaligned access: " + Where(*w.block, i, w.first_thread + l));
    }
  }
}

}  // namespace ptx
