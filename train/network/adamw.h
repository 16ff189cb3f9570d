#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "train/config/run_config.h"
#include "train/network/parameters.h"

namespace peerage::train {

// AdamW (Loshchilov and Hutter 2019, algorithm 2) over f32 tensors, as torch.optim.AdamW computes
// it: moments in f32, bias corrections in double. A table whose gradient is in a ledger changes in
// the rows that were picked alone, and so do its moments.
class AdamW {
 public:
  // One tensor and how it is learnt.
  struct Item {
    at::Tensor value;  // with gradients
    double learning_rate = 0;
    double weight_decay = 0;
    LedgerPlace place = {};
    at::Tensor first = {};  // moments; begin as zeros
    at::Tensor second = {};
  };

  AdamW(std::vector<Item> items, const OptimizerSection& section);

  // The norm of all gradients together, which are then scaled down to `clip` where it is larger
  // (and clip is not 0). A tensor that no token met has a gradient of zeros.
  double ClipGradients();

  // Learning rates times `factor`. Gradients are gone afterwards.
  void Step(double factor);

  // Moments of the items, in their order.
  std::vector<Item>& items() { return items_; }
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  std::vector<double> TableNorms() const;
  void StepTables(int64_t ledger, const std::vector<size_t>& items, double factor);

  std::vector<Item> items_;
  std::map<int64_t, std::vector<size_t>> tables_;  // items of each ledger
  const double beta1_;
  const double beta2_;
  const double epsilon_;
  const double clip_;
  double clip_factor_ = 1;  // of the gradients in ledgers, which are scaled when they are used
  int64_t steps_ = 0;
};

}  // namespace peerage::train
