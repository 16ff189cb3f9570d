// Gradients of tables as their factors. The gradient of a table's row is a sum over its picks of a
// number times a row of the batch (of x, or of the gradient of y): a ledger keeps the numbers and
// the batch, a few megabytes where the rows themselves would take hundreds.
//
// A ledger is known by a number, so that graphs that torch.compile makes can name it. Safe to call
// from several threads; the order of gradients is that in which backward wrote them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace peerage::train {

// What backward of one call leaves for its tables.
struct PickGradients {
  at::Tensor order;         // of the picks, by row (ordered_picks.h)
  at::Tensor coefficients;  // [tables, picks]; tables: up, down, gate
  at::Tensor x;             // [tokens, width], the factor of down and gate; undefined without them
  at::Tensor grad_y;        // [tokens, width], the factor of up

  int64_t tables() const { return coefficients.size(0); }
  const at::Tensor& factor(int64_t table) const { return table == 0 ? grad_y : x; }
};

int64_t OpenLedger();
void CloseLedger(int64_t ledger);

void WriteLedger(int64_t ledger, PickGradients gradients);
// All that was written since the ledger was cleared: gradients of the same table add up.
std::vector<PickGradients> ReadLedger(int64_t ledger);
void ClearLedger(int64_t ledger);
bool LedgerIsEmpty(int64_t ledger);

// Of the gradients of all rows of each table; empty with nothing written.
std::vector<double> LedgerSquareNorms(int64_t ledger);
// What clipping does to all of them.
void ScaleLedger(int64_t ledger, double factor);

// A ledger that closes with its owner.
class Ledger {
 public:
  Ledger() : number_(OpenLedger()) {}
  ~Ledger() { CloseLedger(number_); }
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  int64_t number() const { return number_; }

 private:
  const int64_t number_;
};

}  // namespace peerage::train
