#include "train/ops/gradient_ledger.h"

#include <torch/library.h>

#include <map>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "train/ops/table_gradients.h"

namespace peerage::train {
namespace {

class Ledgers {
 public:
  int64_t Open() {
    const std::lock_guard lock(mu_);
    ledgers_[++last_];
    return last_;
  }
  void Close(int64_t ledger) {
    const std::lock_guard lock(mu_);
    ledgers_.erase(ledger);
  }
  // Calls body with the ledger's entries.
  template <typename Body>
  auto With(int64_t ledger, const Body& body) {
    const std::lock_guard lock(mu_);
    const auto found = ledgers_.find(ledger);
    TORCH_CHECK(found != ledgers_.end(), "peerage: there is no ledger ", ledger,
                "; torch.ops.peerage.open_ledger() makes one");
    return body(found->second);
  }

 private:
  std::mutex mu_;
  int64_t last_ = 0;
  std::map<int64_t, std::vector<PickGradients>> ledgers_;
};

Ledgers& TheLedgers() {
  static auto* ledgers = new Ledgers();  // outlives whatever runs while the process ends
  return *ledgers;
}

}  // namespace

int64_t OpenLedger() { return TheLedgers().Open(); }
void CloseLedger(int64_t ledger) { TheLedgers().Close(ledger); }

void WriteLedger(int64_t ledger, PickGradients gradients) {
  TheLedgers().With(ledger, [&](auto& entries) { entries.push_back(std::move(gradients)); });
}

std::vector<PickGradients> ReadLedger(int64_t ledger) {
  return TheLedgers().With(ledger, [](const auto& entries) { return entries; });
}

void ClearLedger(int64_t ledger) {
  TheLedgers().With(ledger, [](auto& entries) { entries.clear(); });
}

bool LedgerIsEmpty(int64_t ledger) {
  return TheLedgers().With(ledger, [](const auto& entries) { return entries.empty(); });
}

std::vector<double> LedgerSquareNorms(int64_t ledger) {
  const std::vector<PickGradients> gradients = ReadLedger(ledger);
  return gradients.empty() ? std::vector<double>() : SquareNorms(gradients);
}

void ScaleLedger(int64_t ledger, double factor) {
  TheLedgers().With(ledger, [&](auto& entries) {
    for (PickGradients& entry : entries) entry.coefficients.mul_(factor);
  });
}

namespace {

double LedgerSquareNorm(int64_t ledger) {
  const std::vector<double> squares = LedgerSquareNorms(ledger);
  return std::accumulate(squares.begin(), squares.end(), 0.0);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(peerage, m) {
  m.def("open_ledger() -> int", OpenLedger);
  m.def("close_ledger(int ledger) -> ()", CloseLedger);
  m.def("clear_ledger(int ledger) -> ()", ClearLedger);
  m.def("ledger_is_empty(int ledger) -> bool", LedgerIsEmpty);
  m.def("ledger_square_norm(int ledger) -> float", LedgerSquareNorm);
  m.def("scale_ledger(int ledger, float factor) -> ()", ScaleLedger);
}

}  // namespace peerage::train
