#include "tests/unit/engine/simulation/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/dice.h"
#include "tests/unit/engine/simulation/run_apart.h"
#include "tests/unit/engine/simulation/shrink.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

#ifdef NDEBUG
constexpr uint64_t kSteps = 1'000'000;
#else
constexpr uint64_t kSteps = 100'000;  // with assertions, and maybe sanitizers, they take as long
#endif

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// So that a crash in the middle of a world still names it.
volatile uint64_t current_seed = 0;

void PrintSeed(int signal) {
  std::fprintf(stderr, "PEERAGE_SIMULATION_SEED=%llu: the process dies of signal %d\n",
               static_cast<unsigned long long>(current_seed), signal);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::string FailureOf(const World& world) {
  Coverage coverage;
  return Simulate(world, coverage).failure;
}

std::string FailureApart(const World& world) {
  return RunApart([&world] { return FailureOf(world); });
}

// What is allocated next gets other addresses, in another order, while what is returned lives.
std::vector<std::unique_ptr<char[]>> ScrambleHeap(uint64_t seed) {
  Dice dice(seed);
  std::vector<std::unique_ptr<char[]>> blocks(256);
  for (auto& block : blocks) block = std::make_unique<char[]>(dice.Between(16, 600));
  for (int i = 0; i < 200; ++i) blocks[dice.Between(0, 255)].reset();
  return blocks;
}

// For who has to mend it.
std::string Report(uint64_t seed) {
  const World smallest = Shrink(MakeWorld(seed), FailureApart);
  return absl::StrCat("PEERAGE_SIMULATION_SEED=", seed, "\nThe smallest world that fails, with '",
                      FailureApart(smallest), "':\n", ToText(smallest));
}

// A quiet simulation does not pass for a thorough one.
void CheckCoverage(const Coverage& coverage) {
  const uint64_t some = coverage.steps / 5000;
  EXPECT_GT(coverage.full_steps, coverage.steps / 4);
  EXPECT_GT(coverage.shared_blocks, coverage.steps / 4);
  EXPECT_GT(coverage.extra_sequences, coverage.steps / 100);
  EXPECT_GT(coverage.parked, coverage.steps / 100);
  EXPECT_GT(coverage.fair_admissions, coverage.steps / 100);
  EXPECT_GT(coverage.cached, coverage.steps / 100);
  EXPECT_GT(coverage.preemptions, coverage.steps / 40'000);
  EXPECT_GT(coverage.recomputed, coverage.steps / 10'000);
  EXPECT_GT(coverage.refused, some);
  EXPECT_GT(coverage.within_part, some);
  EXPECT_GT(coverage.hurried, some);
  EXPECT_GT(coverage.resumed, some);
  EXPECT_GT(coverage.patient, coverage.steps / 20'000);
  EXPECT_GT(coverage.left_room, coverage.steps / 20'000);
  EXPECT_GT(coverage.hangs, coverage.steps / 20'000);
  EXPECT_GT(coverage.rebuilt, coverage.steps / 10'000);
  EXPECT_GT(coverage.moved, coverage.steps / 20'000);
  EXPECT_GT(coverage.rejoined, coverage.steps / 10'000);
  for (absl::StatusCode code :
       {absl::StatusCode::kOk, absl::StatusCode::kCancelled, absl::StatusCode::kDeadlineExceeded,
        absl::StatusCode::kResourceExhausted, absl::StatusCode::kInternal,
        absl::StatusCode::kUnavailable}) {
    EXPECT_GT(coverage.endings[static_cast<size_t>(code)], some) << absl::StatusCodeToString(code);
  }
}

class SimulationTest : public ::testing::Test {
 protected:
  // Debian's Abseil looks for deadlocks at every lock; there is one thread here.
  SimulationTest() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }
};

// PEERAGE_SIMULATION_SEED replays one seed, PEERAGE_SIMULATION_STEPS takes that many steps.
TEST_F(SimulationTest, KeepsItsInvariantsInRandomWorlds) {
  if (const uint64_t seed = FromEnvironment("PEERAGE_SIMULATION_SEED", 0); seed != 0) {
    ASSERT_EQ(FailureApart(MakeWorld(seed)), "") << Report(seed);
    return;
  }
  const uint64_t steps = FromEnvironment("PEERAGE_SIMULATION_STEPS", kSteps);
  for (int signal : {SIGABRT, SIGSEGV, SIGFPE}) std::signal(signal, PrintSeed);
  Coverage coverage;
  for (uint64_t seed = 1; coverage.steps < steps; ++seed) {
    current_seed = seed;
    const Outcome outcome = Simulate(MakeWorld(seed), coverage);
    ASSERT_EQ(outcome.failure, "") << "after " << coverage.steps << " steps\n" << Report(seed);
  }
  CheckCoverage(coverage);
  RecordProperty("worlds", std::to_string(current_seed));
  RecordProperty("steps", std::to_string(coverage.steps));
}

TEST_F(SimulationTest, ReplaysASeedBitForBit) {
  std::set<uint64_t> logs;
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    Coverage once, again;
    const Outcome first = Simulate(MakeWorld(seed), once);
    const auto holes = ScrambleHeap(seed);
    const Outcome second = Simulate(MakeWorld(seed), again);

    EXPECT_EQ(first.log, second.log) << "PEERAGE_SIMULATION_SEED=" << seed;
    EXPECT_EQ(once.steps, again.steps) << "PEERAGE_SIMULATION_SEED=" << seed;
    logs.insert(first.log);
  }
  EXPECT_GT(logs.size(), 450u) << "worlds are too much alike";
}

TEST_F(SimulationTest, ShrinksAWorldToWhatMatters) {
  // Let a request that ends with INTERNAL be the failure: of all that happens in the world, one
  // token of one request is to blame.
  const auto blamed = [](const World& world) -> std::string {
    Coverage coverage;
    EXPECT_EQ(Simulate(world, coverage).failure, "");
    return coverage.endings[static_cast<size_t>(absl::StatusCode::kInternal)] > 0 ? "found" : "";
  };
  uint64_t seed = 1;
  const auto is_full = [&](const World& world) {
    return world.poisoned && world.arrivals.size() > 8 && world.disturbances.size() > 4;
  };
  while (!is_full(MakeWorld(seed)) || blamed(MakeWorld(seed)).empty()) ++seed;

  const World smallest = Shrink(MakeWorld(seed), blamed);

  EXPECT_EQ(blamed(smallest), "found");
  ASSERT_EQ(smallest.arrivals.size(), 1u) << ToText(smallest);
  EXPECT_LE(smallest.disturbances.size(), 1u) << ToText(smallest);
  EXPECT_EQ(smallest.arrivals[0].turn, 0) << ToText(smallest);
  EXPECT_THAT(ToText(smallest), HasSubstr("turn 0: request "));
}

TEST_F(SimulationTest, TellsOfARunThatCrashes) {
  EXPECT_EQ(RunApart([] { return "fine"; }), "fine");
  EXPECT_EQ(RunApart([]() -> std::string { std::abort(); }), "the process dies of signal 6");
}

}  // namespace
}  // namespace peerage
