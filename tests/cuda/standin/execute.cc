// Runs the blocks of a launch.
#include <atomic>
#include <numeric>
#include <random>
#include <thread>

#include "ops.h"

namespace ptx {

void Counters::Add(const Counters& o) {
  const auto* from = reinterpret_cast<const u64*>(&o);
  auto* to = reinterpret_cast<u64*>(this);
  for (size_t i = 0; i < sizeof(Counters) / sizeof(u64); ++i) to[i] += from[i];
}

void Profile::Add(const Profile& o) {
  total.Add(o.total);
  const auto merge = [](auto& to, const auto& from) {
    for (const auto& [line, c] : from) {
      to[line].requests += c.requests;
      to[line].units += c.units;
      to[line].least += c.least;
    }
  };
  merge(global, o.global);
  merge(shared, o.shared);
}

std::string Where(const BlockState& block, const Inst& inst, int thread) {
  const Kernel& k = *block.launch->kernel;
  const size_t index =
      &inst >= k.code.data() && &inst < k.code.data() + k.code.size() ? &inst - k.code.data() : 0;
  return k.name + " at " + k.Place(inst) + ", block " + std::to_string(block.id.x) + "," +
         std::to_string(block.id.y) + "," + std::to_string(block.id.z) + " thread " +
         std::to_string(thread) + ": " + k.text[index];
}

void BlockState::Report(const Inst& inst, int thread, const char* what) {
  const std::lock_guard lock(*report_mutex);
  if (reports->size() < 20) reports->insert(std::string(what) + ": " + Where(*this, inst, thread));
}

namespace {

class Block {
 public:
  Block(const Launch& launch, const Memory& memory, const Options& options,
        std::set<std::string>& reports, std::mutex& mutex)
      : launch_(launch), kernel_(*launch.kernel), threads_(static_cast<int>(launch.block.count())) {
    state_.launch = &launch;
    state_.memory = &memory;
    state_.options = &options;
    state_.reports = &reports;
    state_.report_mutex = &mutex;
    state_.accesses.resize(kernel_.code.size());
    const int warps = (threads_ + 31) / 32;
    // Registers begin as garbage that a result would show. (Once: what a block leaves is garbage to
    // the next.)
    files_.resize(size_t{kernel_.register_bytes} * warps + 64);
    base_ = files_.data() + (64 - reinterpret_cast<uintptr_t>(files_.data()) % 64) % 64;
    std::fill_n(reinterpret_cast<u32*>(base_), size_t{kernel_.register_bytes} * warps / 4,
                0x7fdeadbe);
    warps_.resize(warps);
    for (int i = 0; i < warps; ++i) {
      Warp& w = warps_[i];
      w.regs = base_ + size_t{kernel_.register_bytes} * i;
      w.first_thread = 32 * i;
      const int lanes = std::min(32, threads_ - 32 * i);
      w.existing = lanes == 32 ? kAll : (1u << lanes) - 1;
      w.block = &state_;
      for (const Kernel::Constant& c : kernel_.constants) {
        if (c.wide)
          std::fill_n(w.q(c.at), 32, c.value);
        else
          std::fill_n(w.w(c.at), 32, static_cast<u32>(c.value));
      }
    }
  }

  void Run(Dim id, std::mt19937_64* random) {
    state_.id = id;
    ++state_.counters.blocks;
    const size_t shared = (kernel_.static_shared + 15) / 16 * 16 + launch_.dynamic_shared;
    state_.shared.assign(shared, 0xff);  // NaN
    if (state_.options->check_shared) {
      state_.shadow.assign(shared / 4 + 1, {});
      for (const u32 zone : kernel_.red_zones) {
        for (u32 b = 0; b < 32; b += 4) state_.shadow[(zone + b) / 4].red = true;
      }
    }
    state_.tag =
        launch_.number << 32 | (id.x + launch_.grid.x * (id.y + u64{launch_.grid.y} * id.z) + 1);
    state_.epoch = 1;
    for (Warp& w : warps_) Reset(w);
    std::vector<size_t> order(warps_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (;;) {
      if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
      for (const size_t i : order) RunWarp(warps_[i]);
      bool any = false;
      i32 pc = -1;
      for (Warp& w : warps_) {
        if (w.at_barrier == 0) continue;
        const Inst& inst = kernel_.code[w.barrier_pc];
        if (pc >= 0 && pc != w.barrier_pc)
          state_.Report(inst, w.first_thread, "different barriers");
        pc = w.barrier_pc;
        any = true;
        w.groups.assign(1, {w.barrier_pc + 1, w.at_barrier});
        w.at_barrier = 0;
      }
      if (!any) break;
      for (Warp& w : warps_) {
        if (w.live != w.existing)
          state_.Report(kernel_.code[pc], w.first_thread, "barrier after some threads returned");
      }
      ++state_.epoch;
      ++state_.counters.barriers;
    }
  }
  Profile profile() const {
    Profile p{state_.counters, {}, {}};
    for (size_t i = 0; i < state_.accesses.size(); ++i) {
      const LineCounters& c = state_.accesses[i];
      if (c.requests == 0) continue;
      auto& lines = kernel_.text[i].find(".shared.") != std::string::npos &&
                            kernel_.text[i].find("cp.async") == std::string::npos
                        ? p.shared
                        : p.global;
      LineCounters& l = lines[kernel_.Place(kernel_.code[i])];
      l.requests += c.requests;
      l.units += c.units;
      l.least += c.least;
    }
    return p;
  }

 private:
  void Reset(Warp& w) {
    w.live = w.existing;
    w.at_barrier = 0;
    w.sync_epoch = 1;
    w.groups.assign(1, {0, w.existing});
    w.copies.clear();
    std::fill(std::begin(w.committed), std::end(w.committed), 0);
    w.last_range = {};
    const Dim &g = launch_.grid, &b = launch_.block;
    for (const auto& [at, which] : kernel_.specials) {
      u32* d = w.w(at);
      for (u32 l = 0; l < 32; ++l) {
        const u32 t = static_cast<u32>(w.first_thread) + l;
        const u32 values[] = {t % b.x,     t / b.x % b.y, t / (b.x * b.y), b.x, b.y, b.z,
                              state_.id.x, state_.id.y,   state_.id.z,     g.x, g.y, g.z,
                              l,           t / 32};
        d[l] = values[which];
      }
    }
  }

  // Until all lanes of the warp wait at a barrier or have left.
  void RunWarp(Warp& w) {
    const Inst* const code = kernel_.code.data();
    u64 instructions = 0, lanes = 0;
    while (!w.groups.empty()) {
      // The group with the lowest address; those at the same address join it.
      size_t lowest = w.groups.size();
      for (size_t i = 0; i < w.groups.size(); ++i) {
        if (w.groups[i].waits) continue;
        if (lowest == w.groups.size() || w.groups[i].pc < w.groups[lowest].pc) lowest = i;
      }
      if (lowest == w.groups.size()) {
        throw Error("warp-wide instruction waits for lanes that never come: " +
                    Where(state_, code[w.groups[0].pc],
                          w.first_thread + std::countr_zero(w.groups[0].mask)));
      }
      Group g = w.groups[lowest];
      std::erase_if(w.groups, [&](const Group& o) {
        if (o.pc != g.pc) return false;
        g.mask |= o.mask;
        return true;
      });
      i32 stop = INT32_MAX;  // where the next group waits
      for (const Group& o : w.groups) stop = std::min(stop, o.pc > g.pc ? o.pc : INT32_MAX);
      const Inst* ip = code + g.pc;
      const Inst* const end = stop == INT32_MAX ? nullptr : code + stop;
      const u32 active = g.mask;
      bool running = true;
      while (running) {
        const Inst& i = *ip;
        u32 m = active;
        if (i.guard != kNone) {
          const u32 p = *w.w(i.guard);
          m &= i.negated ? ~p : p;
        }
        ++instructions;
        lanes += static_cast<u64>(std::popcount(m));
        switch (i.kind) {
          case Kind::kPlain:
            if (m != 0) i.fn(w, i, m);
            ++ip;
            break;
          case Kind::kBranch:
            if (m == active) {
              ip = code + i.target;
              if (!w.groups.empty()) {
                w.groups.push_back({i.target, active});
                running = false;
                continue;
              }
            } else if (m == 0) {
              ++ip;
            } else {
              ++state_.counters.divergent_branches;
              w.groups.push_back({i.target, m});
              w.groups.push_back({static_cast<i32>(ip + 1 - code), active & ~m});
              running = false;
              continue;
            }
            break;
          case Kind::kExit:
            w.live &= ~m;
            if (m != 0 && !w.copies.empty())
              state_.Report(i, w.first_thread, "cp.async that nobody waited for");
            if (active & ~m) w.groups.push_back({static_cast<i32>(ip + 1 - code), active & ~m});
            running = false;
            continue;
          case Kind::kBarrier:
            if (m != w.live) state_.Report(i, w.first_thread, "divergent barrier");
            w.at_barrier |= m;
            w.barrier_pc = static_cast<i32>(ip - code);
            if (active & ~m) w.groups.push_back({static_cast<i32>(ip + 1 - code), active & ~m});
            running = false;
            continue;
          case Kind::kCollective: {
            if (m == 0) {
              ++ip;
              break;
            }
            const u32 wanted = w.w(i.members)[std::countr_zero(m)] & w.existing;
            if (wanted & ~w.live)
              throw Error("warp-wide instruction names a lane that returned: " +
                          Where(state_, i, w.first_thread));
            if (wanted & ~m) {
              --instructions;
              lanes -= static_cast<u64>(std::popcount(m));
              w.groups.push_back({static_cast<i32>(ip - code), active, true});
              running = false;
              continue;
            }
            i.fn(w, i, m);
            ++ip;
          }
        }
        if (ip == end) {
          w.groups.push_back({static_cast<i32>(ip - code), active});
          running = false;
        }
      }
      // A group that waits may go on as soon as others have moved.
      if (w.groups.size() > 1) {
        for (Group& o : w.groups) {
          for (const Group& p : w.groups) {
            if (&o != &p && o.pc == p.pc) o.waits = false;
          }
        }
      }
    }
    state_.counters.instructions += instructions;
    state_.counters.lane_instructions += lanes;
  }

  const Launch& launch_;
  const Kernel& kernel_;
  const int threads_;
  BlockState state_;
  std::vector<u8> files_;
  u8* base_ = nullptr;
  std::vector<Warp> warps_;
};

}  // namespace

Profile Execute(const Launch& launch, const Memory& memory, const Options& options,
                std::set<std::string>& reports) {
  const u64 blocks = launch.grid.count();
  std::vector<u64> order(blocks);
  std::iota(order.begin(), order.end(), u64{0});
  std::mt19937_64 random(options.seed);
  if (options.seed != 0) std::shuffle(order.begin(), order.end(), random);
  std::mutex mutex;
  std::atomic<u64> next{0};
  Profile total;
  std::string failure;
  const auto work = [&](u64 seed) {
    std::mt19937_64 own(seed);
    try {
      Block block(launch, memory, options, reports, mutex);
      for (u64 i = next++; i < blocks; i = next++) {
        const u64 b = order[i];
        block.Run({static_cast<u32>(b % launch.grid.x),
                   static_cast<u32>(b / launch.grid.x % launch.grid.y),
                   static_cast<u32>(b / launch.grid.x / launch.grid.y)},
                  options.seed == 0 ? nullptr : &own);
      }
      const std::lock_guard lock(mutex);
      total.Add(block.profile());
    } catch (Error& e) {
      const std::lock_guard lock(mutex);
      next = blocks;
      if (failure.empty()) failure = e.what();
    }
  };
  const int threads = static_cast<int>(std::min<u64>(options.threads, blocks));
  std::vector<std::thread> team;
  for (int t = 1; t < threads; ++t) team.emplace_back(work, options.seed + t);
  work(options.seed);
  for (std::thread& t : team) t.join();
  if (!failure.empty()) throw Error(failure);
  ++total.total.launches;
  return total;
}

}  // namespace ptx
