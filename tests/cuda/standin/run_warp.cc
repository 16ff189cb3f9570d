// How a warp's lanes go through the code: in groups, that with the lowest address first.
#include <algorithm>
#include <bit>

#include "block.h"

namespace ptx {
namespace {

// Branches that a warp takes before others get their turn: one may wait for what another writes.
constexpr u64 kSlice = u64{1} << 20;

void Wake(std::vector<Group>& groups) {
  for (Group& o : groups) {
    for (const Group& p : groups) {
      if (&o != &p && o.pc == p.pc) o.waits = false;
    }
  }
}

}  // namespace

void Block::RunWarp(Warp& w) {
  w.yields = false;
  slice_ = kSlice;
  while (!w.groups.empty()) {
    const Group g = NextGroup(w);
    if (g.mask == 0) return;
    if (!RunGroup(w, g)) return;
    // A group that waits may go on as soon as others have moved.
    if (w.groups.size() > 1) Wake(w.groups);
  }
}

// With those at the same address; without lanes when all wait for lanes at barriers.
Group Block::NextGroup(Warp& w) {
  size_t lowest = w.groups.size();
  for (size_t n = 0; n < w.groups.size(); ++n) {
    if (w.groups[n].waits) continue;
    if (lowest == w.groups.size() || w.groups[n].pc < w.groups[lowest].pc) lowest = n;
  }
  if (lowest == w.groups.size()) {
    if (w.blocked != 0) return {};
    const Group& g = w.groups[0];
    throw Error("warp-wide instruction waits for lanes that never come: " +
                Where(state_, kernel_.code[static_cast<size_t>(g.pc)],
                      w.first_thread + std::countr_zero(g.mask)));
  }
  Group g = w.groups[lowest];
  std::erase_if(w.groups, [&](const Group& o) {
    if (o.pc != g.pc) return false;
    g.mask |= o.mask;
    return true;
  });
  return g;
}

// Until the group splits, meets another, or stops.
bool Block::RunGroup(Warp& w, Group group) {
  const Inst* const code = kernel_.code.data();
  i32 stop = INT32_MAX;  // where the next group waits
  for (const Group& o : w.groups) stop = std::min(stop, o.pc > group.pc ? o.pc : INT32_MAX);
  const Inst* ip = code + group.pc;
  const Inst* const end = stop == INT32_MAX ? nullptr : code + stop;
  const u32 active = group.mask;
  u64 instructions = 0, lanes = 0;
  bool goes_on = true, running = true;
  while (running) {
    const Inst& i = *ip;
    u32 m = active;
    if (i.guard != kNone) {
      const u32 p = *w.w(i.guard);
      m &= i.negated ? ~p : p;
    }
    ++instructions;
    lanes += static_cast<u64>(std::popcount(m));
    const i32 next = static_cast<i32>(ip + 1 - code);
    switch (i.kind) {
      case Kind::kPlain:
        if (m != 0) i.fn(w, i, m);
        ++ip;
        break;
      case Kind::kBranch:
        if (m == active && w.groups.empty()) {
          goes_on = running = i.target >= next || --slice_ != 0;
          ip = code + i.target;
          if (!running) w.groups.push_back({i.target, active});
        } else if (m == 0) {
          ++ip;
        } else {
          running = Branch(w, i, next, active, m);
        }
        break;
      case Kind::kTable:
        if (m != 0) IndexedBranch(w, i, m);
        if ((active & ~m) != 0) w.groups.push_back({next, active & ~m});
        running = false;
        break;
      case Kind::kExit:
        Exit(w, i, m);
        if ((active & ~m) != 0) w.groups.push_back({next, active & ~m});
        running = false;
        break;
      case Kind::kBarrier:
        ++ip;
        if (m == 0 || (Arrive(w, i, m) && m == active)) break;
        if ((active & ~m) != 0) w.groups.push_back({next, active & ~m});
        if (i.mode == 1) w.groups.push_back({next, m});
        running = false;
        break;
      case Kind::kCollective:
        if (m == 0 || Collective(w, i, m)) {
          ++ip;
          break;
        }
        --instructions;
        lanes -= static_cast<u64>(std::popcount(m));
        w.groups.push_back({next - 1, active, true});
        running = false;
    }
    if (running && (ip == end || w.yields)) {
      w.groups.push_back({static_cast<i32>(ip - code), active});
      goes_on = !w.yields;
      running = false;
    }
  }
  state_.counters.instructions += instructions;
  state_.counters.lane_instructions += lanes;
  w.yields = w.yields || !goes_on;
  return goes_on;
}

// Always ends the run of the group: others are there, or it splits.
bool Block::Branch(Warp& w, const Inst& i, i32 next, u32 active, u32 m) {
  w.groups.push_back({i.target, m});
  if (m != active) {
    ++state_.counters.divergent_branches;
    w.groups.push_back({next, active & ~m});
  }
  return false;
}

void Block::IndexedBranch(Warp& w, const Inst& i, u32 m) {
  const std::vector<i32>& table = kernel_.tables[static_cast<size_t>(i.target)];
  const u32* index = w.w(i.r[0]);
  size_t targets = 0;
  while (m != 0) {
    const u32 wanted = index[std::countr_zero(m)];
    if (wanted >= table.size()) {
      throw Error("branch beyond its table: " + Where(state_, i, w.first_thread));
    }
    u32 same = 0;
    for (u32 rest = m; rest != 0; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      if (index[l] == wanted) same |= 1u << l;
    }
    w.groups.push_back({table[wanted], same});
    m &= ~same;
    ++targets;
  }
  if (targets > 1) ++state_.counters.divergent_branches;
}

void Block::Exit(Warp& w, const Inst& i, u32 m) {
  w.live &= ~m;
  const bool pending = std::any_of(w.copies.begin(), w.copies.end(),
                                   [&](const CopyRequest& c) { return (m >> c.lane & 1) != 0; });
  if (pending) state_.Report(i, w.first_thread, "cp.async that nobody waited for");
}

// False when lanes that are named are not there yet. Lanes with other masks meet apart.
bool Block::Collective(Warp& w, const Inst& i, u32 m) {
  const u32* members = w.w(i.members);
  for (u32 rest = m; rest != 0;) {
    const int l = std::countr_zero(rest);
    const u32 wanted = members[l] & w.existing;
    if ((wanted & ~w.live) != 0) {
      throw Error("warp-wide instruction names a lane that returned: " +
                  Where(state_, i, w.first_thread + l));
    }
    if ((wanted >> l & 1) == 0) {
      throw Error("warp-wide instruction by a lane that it does not name: " +
                  Where(state_, i, w.first_thread + l));
    }
    if ((wanted & ~m) != 0) return false;
    rest &= ~wanted;
  }
  while (m != 0) {
    const u32 part = members[std::countr_zero(m)] & m;
    i.fn(w, i, part);
    m &= ~part;
  }
  return true;
}

}  // namespace ptx
