// Runs the blocks of a launch.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>

#include "block.h"

namespace ptx {

void Counters::Add(const Counters& o) {
  const u64 threads = std::max(block_threads, o.block_threads);
  const u64 shared_bytes = std::max(block_shared_bytes, o.block_shared_bytes);
  const auto* from = reinterpret_cast<const u64*>(&o);
  auto* to = reinterpret_cast<u64*>(this);
  for (size_t i = 0; i < sizeof(Counters) / sizeof(u64); ++i) to[i] += from[i];
  block_threads = threads;
  block_shared_bytes = shared_bytes;
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
  const auto index = static_cast<size_t>(&inst - k.code.data());
  const bool is_known = &inst >= k.code.data() && index < k.code.size();
  return k.name + " at " + k.Place(inst) + ", block " + std::to_string(block.id.x) + "," +
         std::to_string(block.id.y) + "," + std::to_string(block.id.z) + " thread " +
         std::to_string(thread) + ": " + (is_known ? k.text[index] : "");
}

// Once for each kind and instruction of a launch, by whom it happens first.
void BlockState::Report(const Inst& inst, int thread, const char* what) {
  const std::lock_guard lock(shared_state->report_mutex);
  if (!shared_state->told.emplace(what, &inst).second) return;
  reports->insert(std::string(what) + ": " + Where(*this, inst, thread));
}

namespace {

constexpr u32 kLastSerial = (1u << 29) - 2;

// Of the launch's first block: serials are unique among the blocks of all launches.
u32 TakeSerials(const Memory& memory, u64 blocks) {
  if (memory.last_serial + blocks > kLastSerial) throw Error("more blocks than can be told apart");
  const u32 first = memory.last_serial + 1;
  memory.last_serial += static_cast<u32>(blocks);
  return first;
}

}  // namespace

Profile Execute(const Launch& launch, const Memory& memory, const Options& options,
                std::set<std::string>& reports) {
  const u64 blocks = launch.grid.count();
  std::vector<u32> order(blocks);
  std::iota(order.begin(), order.end(), u32{0});
  std::mt19937_64 random(options.seed);
  if (options.seed != 0) std::shuffle(order.begin(), order.end(), random);
  LaunchState state;
  state.first_serial = TakeSerials(memory, blocks);
  std::mutex mutex;
  std::atomic<u64> next{0};
  Profile total;
  std::string failure;
  const auto work = [&](u64 seed) {
    std::mt19937_64 own(seed);
    try {
      Block block(launch, memory, options, reports, state);
      for (u64 i = next++; i < blocks; i = next++) {
        const u32 b = order[i];
        const Dim id{b % launch.grid.x, b / launch.grid.x % launch.grid.y,
                     b / launch.grid.x / launch.grid.y};
        block.Run(id, state.first_serial + b, options.seed == 0 ? nullptr : &own);
      }
      const std::lock_guard lock(mutex);
      total.Add(block.profile());
    } catch (Error& e) {
      const std::lock_guard lock(mutex);
      next = blocks;
      if (failure.empty()) failure = e.what();
    }
  };
  const int threads = static_cast<int>(std::min<u64>(static_cast<u64>(options.threads), blocks));
  std::vector<std::thread> team;
  for (int t = 1; t < threads; ++t) team.emplace_back(work, options.seed + static_cast<u64>(t));
  work(options.seed);
  for (std::thread& t : team) t.join();
  if (!failure.empty()) throw Error(failure);
  ++total.total.launches;
  total.total.block_threads = launch.block.count();
  total.total.block_shared_bytes = launch.kernel->static_shared + launch.dynamic_shared;
  return total;
}

}  // namespace ptx
