// Sectors of global memory and wavefronts of shared memory.
#include <algorithm>
#include <bit>

#include "access.h"

namespace ptx {
namespace {

constexpr u32 kSector = 32;

u64 Sectors(const Addresses& a, u32 m, u32 bytes) {
  if (IsContiguous(a, m, bytes)) {
    return (a.v[kLanes - 1] + bytes - 1) / kSector - a.v[0] / kSector + 1;
  }
  u64 seen[2 * kLanes];
  int n = 0;
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    for (u64 s = a.v[l] / kSector; s <= (a.v[l] + bytes - 1) / kSector; ++s) {
      bool known = false;
      for (int j = n - 1; j >= 0 && !known; --j) known = seen[j] == s;
      if (!known) seen[n++] = s;
    }
  }
  return static_cast<u64>(n);
}

// `least`: what the same bytes would need at best.
void CountAccess(Warp& w, const Inst& i, u64 units, u64 least) {
  LineCounters& c =
      w.block->accesses[static_cast<size_t>(&i - w.block->launch->kernel->code.data())];
  ++c.requests;
  c.units += units;
  c.least += least;
}

// The most words that lanes of `part` want from one of the 32 banks.
u32 WordsOfABank(const Addresses& a, u32 part, u32 bytes) {
  constexpr u32 kMost = 32;
  u8 words[kLanes] = {};
  u32 word_of[kLanes][kMost];
  u32 most = 1;
  for (; part; part &= part - 1) {
    const int l = std::countr_zero(part);
    for (u32 b = 0; b < std::max(bytes, 4u); b += 4) {
      const u32 word = static_cast<u32>((a.v[l] + b) / 4), bank = word & 31;
      bool known = false;
      for (u32 j = 0; j < words[bank] && !known; ++j) known = word_of[bank][j] == word;
      if (known || words[bank] == kMost) continue;
      word_of[bank][words[bank]++] = word;
      most = std::max<u32>(most, words[bank]);
    }
  }
  return most;
}

}  // namespace

void CountGlobal(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes, bool store) {
  if (!w.block->options->count) return;
  Counters& c = w.block->counters;
  const u64 sectors = Sectors(a, m, bytes), asked = u64{bytes} * std::popcount(m);
  CountAccess(w, i, sectors, (asked + kSector - 1) / kSector);
  if (store) {
    ++c.store_requests;
    c.store_sectors += sectors;
  } else {
    ++c.load_requests;
    c.load_sectors += sectors;
    c.load_bytes += asked;
  }
}

// 32 banks of 4 bytes; wider accesses go in passes of so many lanes that each has a bank's word.
void CountShared(Warp& w, const Inst& i, const Addresses& a, u32 m, u32 bytes) {
  if (!w.block->options->count) return;
  Counters& c = w.block->counters;
  ++c.shared_requests;
  const int lanes = bytes >= 32 ? 4 : bytes >= 16 ? 8 : bytes == 8 ? 16 : 32;
  u64 wavefronts = 0, least = 0;
  if (bytes >= 4 && IsContiguous(a, m, bytes)) {
    wavefronts = least = static_cast<u64>(kLanes / lanes);
  } else {
    for (int first = 0; first < kLanes; first += lanes) {
      const u32 part = m & ((lanes == 32 ? kAll : (1u << lanes) - 1) << first);
      if (part == 0) continue;
      ++least;
      wavefronts += WordsOfABank(a, part, bytes);
    }
  }
  c.shared_wavefronts += wavefronts;
  c.bank_conflicts += wavefronts - least;
  CountAccess(w, i, wavefronts, least);
}

}  // namespace ptx
