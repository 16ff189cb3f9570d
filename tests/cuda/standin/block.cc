#include "block.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "special_registers.h"

namespace ptx {
namespace {

constexpr u32 kGarbage = 0x7fdeadbe;  // a NaN that a result would show
constexpr u32 kRedZone = 32;

}  // namespace

Block::Block(const Launch& launch, const Memory& memory, const Options& options,
             std::set<std::string>& reports, LaunchState& shared_state)
    : launch_(launch), kernel_(*launch.kernel), threads_(static_cast<int>(launch.block.count())) {
  state_.launch = &launch;
  state_.memory = &memory;
  state_.options = &options;
  state_.reports = &reports;
  state_.shared_state = &shared_state;
  state_.accesses.resize(kernel_.code.size());
  warps_.resize(static_cast<size_t>(threads_ + kLanes - 1) / kLanes);
  // Registers begin as garbage. (Once: what a block leaves is garbage to the next.)
  files_.resize(size_t{kernel_.register_bytes} * warps_.size() + 64);
  for (size_t n = 0; n < warps_.size(); ++n) MakeWarp(warps_[n], static_cast<int>(n));
}

void Block::MakeWarp(Warp& w, int index) {
  const auto address = reinterpret_cast<uintptr_t>(files_.data());
  u8* base = files_.data() + (64 - address % 64) % 64;
  w.regs = base + size_t{kernel_.register_bytes} * static_cast<size_t>(index);
  std::fill_n(reinterpret_cast<u32*>(w.regs), kernel_.register_bytes / 4, kGarbage);
  w.index = index;
  w.first_thread = kLanes * index;
  const int lanes = std::min(kLanes, threads_ - w.first_thread);
  w.existing = lanes == kLanes ? kAll : (1u << lanes) - 1;
  w.block = &state_;
  for (const Kernel::Constant& c : kernel_.constants) {
    if (c.wide) {
      std::fill_n(w.q(c.at), kLanes, c.value);
    } else {
      std::fill_n(w.w(c.at), kLanes, static_cast<u32>(c.value));
    }
  }
}

void Block::Run(Dim id, u32 serial, std::mt19937_64* random) {
  state_.id = id;
  state_.serial = serial;
  ++state_.counters.blocks;
  ResetMemory();
  for (Warp& w : warps_) Reset(w);
  std::vector<size_t> order(warps_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  do {
    if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
    bool yields = true;
    while (yields) {
      yields = false;
      for (const size_t n : order) {
        RunWarp(warps_[n]);
        yields = yields || warps_[n].yields;
      }
    }
  } while (CompleteSomething());
}

void Block::ResetMemory() {
  const size_t shared = (kernel_.static_shared + 15) / 16 * 16 + launch_.dynamic_shared;
  state_.shared.assign(shared, 0xff);  // NaN
  state_.local.assign(size_t{kernel_.local_bytes} * static_cast<size_t>(threads_), 0xff);
  if (state_.options->check_shared) {
    state_.shadow.assign(shared / 4 + 1, {});
    for (const u32 zone : kernel_.red_zones) {
      for (u32 b = 0; b < kRedZone; b += 4) state_.shadow[(zone + b) / 4].is_red = 1;
    }
  }
  state_.now = 1;
  state_.fenced = false;
  state_.known.clear();
  for (Barrier& b : state_.barriers) b = {};
}

void Block::Reset(Warp& w) {
  w.live = w.existing;
  w.blocked = 0;
  w.sync_epoch = 1;
  w.yields = false;
  w.groups.assign(1, {0, w.existing});
  w.copies.clear();
  std::fill(std::begin(w.committed), std::end(w.committed), 0);
  w.last_range = {};
  w.clock.fill(1);
  const Dim &g = launch_.grid, &b = launch_.block;
  for (const auto& [at, which] : kernel_.specials) {
    u32* d = w.w(at);
    for (u32 l = 0; l < kLanes; ++l) {
      const u32 t = static_cast<u32>(w.first_thread) + l, bit = 1u << l;
      const u32 values[kSpecialCount] = {t % b.x,
                                         t / b.x % b.y,
                                         t / (b.x * b.y),
                                         b.x,
                                         b.y,
                                         b.z,
                                         state_.id.x,
                                         state_.id.y,
                                         state_.id.z,
                                         g.x,
                                         g.y,
                                         g.z,
                                         l,
                                         t / kLanes,
                                         static_cast<u32>(warps_.size()),
                                         bit,
                                         bit | (bit - 1),
                                         bit - 1,
                                         ~(bit - 1),
                                         ~(bit | (bit - 1)),
                                         launch_.dynamic_shared};
      d[l] = values[which];
    }
  }
}

Profile Block::profile() const {
  Profile p{state_.counters, {}, {}};
  for (size_t n = 0; n < state_.accesses.size(); ++n) {
    const LineCounters& c = state_.accesses[n];
    if (c.requests == 0) continue;
    const std::string& text = kernel_.text[n];
    const bool is_shared =
        text.find(".shared") != std::string::npos && text.find("cp.async") == std::string::npos;
    LineCounters& l = (is_shared ? p.shared : p.global)[kernel_.Place(kernel_.code[n])];
    l.requests += c.requests;
    l.units += c.units;
    l.least += c.least;
  }
  return p;
}

}  // namespace ptx
