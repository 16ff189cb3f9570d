#include "registers.h"

#include <algorithm>

namespace ptx {
namespace {

template <class F>
void ForRegisters(Inst& inst, F f) {
  for (u32& r : inst.r) {
    if (r != kNone) f(r);
  }
  if (inst.guard != kNone) f(inst.guard);
  if (inst.members != kNone) f(inst.members);
}

// Instructions that begin a run of straight code.
std::vector<bool> Leaders(const Kernel& kernel) {
  std::vector<bool> leaders(kernel.code.size() + 1, false);
  for (size_t i = 0; i < kernel.code.size(); ++i) {
    const Inst& inst = kernel.code[i];
    if (inst.kind != Kind::kBranch && inst.kind != Kind::kTable) continue;
    leaders[i + 1] = true;
    if (inst.kind == Kind::kBranch) leaders[static_cast<size_t>(inst.target)] = true;
  }
  for (const std::vector<i32>& table : kernel.tables) {
    for (const i32 target : table) leaders[static_cast<size_t>(target)] = true;
  }
  return leaders;
}

u32 Align(u32 x, u32 a) { return (x + a - 1) / a * a; }

}  // namespace

u32 Registers::Constant(u64 value, bool wide) {
  const auto [it, is_new] = constants_.try_emplace({value, wide}, 0);
  if (is_new) it->second = New(wide);
  return it->second;
}

u32 Registers::DynamicShared(bool wide) {
  const auto [it, is_new] = dynamic_.try_emplace(wide, 0);
  if (is_new) it->second = New(wide);
  return it->second;
}

u32 Registers::Special(int index) {
  const auto [it, is_new] = specials_.try_emplace(index, 0);
  if (is_new) it->second = New(false);
  return it->second;
}

void Registers::Place(Kernel& kernel, u64 dynamic_shared) {
  std::vector<Life> lives = Lives(kernel);
  for (const auto& [value, r] : constants_) lives[r].is_local = false;
  for (const auto& [wide, r] : dynamic_) lives[r].is_local = false;
  for (const auto& [index, r] : specials_) lives[r].is_local = false;
  places_.assign(widths_.size(), kNone);
  const u32 bytes = PlaceLasting(lives);
  kernel.register_bytes = Align(PlaceLocal(kernel, lives, bytes), 64);
  for (Inst& inst : kernel.code) ForRegisters(inst, [&](u32& r) { r = places_[r]; });
  for (const auto& [value, r] : constants_) {
    kernel.constants.push_back({places_[r], value.second, value.first});
  }
  for (const auto& [wide, r] : dynamic_) {
    kernel.constants.push_back({places_[r], wide, dynamic_shared});
  }
  for (const auto& [index, r] : specials_) kernel.specials.emplace_back(places_[r], index);
}

std::vector<Registers::Life> Registers::Lives(Kernel& kernel) const {
  std::vector<Life> lives(widths_.size());
  const std::vector<bool> leaders = Leaders(kernel);
  int run = 0;
  for (size_t i = 0; i < kernel.code.size(); ++i) {
    run += leaders[i];
    ForRegisters(kernel.code[i], [&](u32 r) {
      Life& l = lives[r];
      if (l.first < 0) l.first = static_cast<int>(i), l.run = run;
      l.last = static_cast<int>(i);
      l.is_local = l.is_local && l.run == run;
    });
  }
  return lives;
}

// Vectors that live longer than a run, then all predicates; the bytes they take.
u32 Registers::PlaceLasting(const std::vector<Life>& lives) {
  u32 bytes = 0;
  for (const bool predicates : {false, true}) {
    for (size_t r = 0; r < lives.size(); ++r) {
      const bool is_predicate = widths_[r] == 4;
      if (is_predicate != predicates || (!is_predicate && lives[r].is_local)) continue;
      places_[r] = bytes;
      bytes += widths_[r];
    }
  }
  return Align(bytes, 128);
}

u32 Registers::PlaceLocal(Kernel& kernel, const std::vector<Life>& lives, u32 bytes) {
  std::map<u32, std::vector<u32>> unused;  // by width
  std::vector<std::vector<u32>> ending(kernel.code.size());
  for (size_t i = 0; i < kernel.code.size(); ++i) {
    ForRegisters(kernel.code[i], [&](u32 r) {
      if (places_[r] != kNone) return;
      std::vector<u32>& free = unused[widths_[r]];
      if (free.empty()) {
        places_[r] = bytes;
        bytes += widths_[r];
      } else {
        places_[r] = free.back();
        free.pop_back();
      }
      ending[static_cast<size_t>(lives[r].last)].push_back(r);
    });
    for (const u32 r : ending[i]) unused[widths_[r]].push_back(places_[r]);
  }
  return bytes;
}

}  // namespace ptx
