// What the operators of experts are called with, checked. Works on tensors without data as well.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/config/activation.h"

namespace peerage::train {

// Names of options; anything else is an error that lists them.
Activation ActivationOf(std::string_view name);
void CheckTableGradient(const char* op, std::string_view kind, int64_t ledger);

// Shapes and types as operators.h has them.
void CheckPicks(const char* op, const at::Tensor& ids, const at::Tensor& weights,
                const at::Tensor& table);
void CheckExperts(const at::Tensor& x, const at::Tensor& ids, const at::Tensor& weights,
                  const at::Tensor& down, const at::Tensor& up,
                  const std::optional<at::Tensor>& gate);
// Backward has no ids; `picks` is any tensor of their shape.
void CheckExpertTables(const at::Tensor& x, const at::Tensor& picks, const at::Tensor& down,
                       const at::Tensor& up, const std::optional<at::Tensor>& gate);
void CheckGradient(const char* op, const at::Tensor& grad_y, const at::Tensor& picks,
                   const at::Tensor& table);

// Every id lies in [0, num_rows). Reads the ids.
void CheckIds(const char* op, const at::Tensor& ids, int64_t num_rows);

}  // namespace peerage::train
