// What each kernel executes, loads and waits for at shapes of real models, and how many of its
// blocks share a multiprocessor there, against the committed table instruction_budget.txt. Its
// header says what is counted and how it is written anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/cuda/kernels/cost_meter.h"

namespace peerage::kernels::cuda {
namespace {

constexpr char kTable[] = "tests/cuda/kernels/instruction_budget.txt";
constexpr char kUpdate[] = "UPDATE_INSTRUCTION_BUDGET";
constexpr double kTolerance = 0.05;

std::string HeaderOf(std::istream& table) {
  std::string header, line;
  while (table.peek() == '#' && std::getline(table, line)) header += line + "\n";
  return header;
}

Costs ReadTable() {
  std::ifstream table(kTable);
  HeaderOf(table);
  Costs costs;
  std::string shape, kernel;
  Cost cost;
  while (table >> shape >> kernel >> cost.instructions >> cost.sectors >> cost.conflicts >>
         cost.blocks) {
    costs[{shape, kernel}] = cost;
  }
  return costs;
}

void WriteTable(const Costs& costs) {
  std::ifstream before(kTable);
  const std::string header = HeaderOf(before);
  std::ofstream table(kTable);
  table << header;
  for (const auto& [key, cost] : costs) {
    table << key.first << " " << key.second << " " << cost.instructions << " " << cost.sectors
          << " " << cost.conflicts << " " << cost.blocks << "\n";
  }
}

void ExpectNear(uint64_t count, uint64_t budget, const std::string& what) {
  EXPECT_NEAR(static_cast<double>(count), static_cast<double>(budget),
              kTolerance * static_cast<double>(budget))
      << what << "; if that is meant, run it again with " << kUpdate << "=1";
}

using InstructionBudgetTest = CudaTest;

TEST_F(InstructionBudgetTest, EveryKernelCostsWhatTheTableSays) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  CostMeter meter(stream_);
  for (const auto measure : {MeasureRetrieval, MeasureExperts, MeasureMixture, MeasureAttention,
                             MeasureLayers, MeasureHead}) {
    measure(meter);
    ASSERT_FALSE(HasFatalFailure());
  }
  if (std::getenv(kUpdate) != nullptr) WriteTable(meter.costs());
  const Costs budgets = ReadTable();
  EXPECT_EQ(budgets.size(), meter.costs().size());
  for (const auto& [key, cost] : meter.costs()) {
    const std::string what = key.first + ", " + key.second;
    ASSERT_EQ(budgets.count(key), 1u) << what << " has no line in " << kTable;
    const Cost& budget = budgets.at(key);
    ExpectNear(cost.instructions, budget.instructions, what + ": warp instructions");
    ExpectNear(cost.sectors, budget.sectors, what + ": sectors of loads");
    ExpectNear(cost.conflicts, budget.conflicts, what + ": bank conflicts");
    EXPECT_EQ(cost.blocks, budget.blocks) << what << ": blocks of a multiprocessor";
  }
}

}  // namespace
}  // namespace peerage::kernels::cuda
