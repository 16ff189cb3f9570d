// The operators of PEER layers and product-key memories on tensors, with gradients. PyTorch has
// them as torch.ops.peerage.*, once it has loaded the library of this folder; C++ calls these
// functions.
//
// On the CPU, in f32, bf16 (summed in f32) and f64. Forward and backward never hold a tensor of
// [tokens, heads, top_k, width]; every sum runs in one fixed order, so results do not depend on the
// number of threads. Wrong arguments are a c10::Error that names the operator and the argument.
// Gradients of gradients do not exist.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

namespace peerage::train {

// How the gradient of a table leaves backward.
//   dense    [num_experts, width], zeros where nothing was picked
//   sparse   a coalesced sparse tensor of the rows that were picked
//   ledger   not as a tensor at all: the picks and the two factors of their rows' gradients go into
//            a ledger (gradient_ledger.h), from which RowwiseAdam computes one row at a time
inline constexpr std::string_view kDense = "dense", kSparse = "sparse", kLedger = "ledger";

struct TableGradient {
  std::string_view kind = kDense;
  int64_t ledger = 0;  // OpenLedger(); for kLedger
};

// The top_k of all n^2 experts by s1[i] + s2[j], expert i * n + j (He 2024, Algorithm 1), of each
// half's best `sub_top_k` (nullopt: top_k, which finds the true best).
//   queries   [tokens, heads, 2, width], in any order in memory
//   sub_keys  [heads or 1, n, 2, width]; 1: all heads share them
// Returns ids (int64) and scores, both [tokens, heads, top_k], best first. Scores have gradients.
struct ProductKeyPicks {
  at::Tensor ids;
  at::Tensor scores;
};
ProductKeyPicks ProductKeyTopK(const at::Tensor& queries, const at::Tensor& sub_keys, int64_t top_k,
                               std::optional<int64_t> sub_top_k = std::nullopt);

// y[t] = sum over picks of weight * act(down[id] . x[t]) * up[id]
// with a gate:            weight * act(gate[id] . x[t]) * (down[id] . x[t]) * up[id]
//   x        [tokens, width]
//   ids      [tokens, heads, top_k], int64, each below num_experts
//   weights  likewise, of the type of x or f32
//   tables   [num_experts, width] each, of the type of x
struct ExpertTables {
  at::Tensor down;
  at::Tensor up;
  std::optional<at::Tensor> gate;
};
struct ExpertOptions {
  std::string_view activation = "gelu";  // or gelu_tanh, silu, relu
  TableGradient table_gradient;
};
at::Tensor PeerExperts(const at::Tensor& x, const ProductKeyPicks& picks /* scores: weights */,
                       const ExpertTables& tables, const ExpertOptions& options = {});

// y[t] = sum over picks of weight * values[id]: product-key memory (Lample et al. 2019).
at::Tensor PkmValues(const ProductKeyPicks& picks /* scores: weights */, const at::Tensor& values,
                     const TableGradient& table_gradient = {});

}  // namespace peerage::train
