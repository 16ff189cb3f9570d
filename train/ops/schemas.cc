// Everything that torch.ops.peerage has for tensors; gradient_ledger.cc adds what ledgers need. The
// operators that users call are product_key_top_k, peer_experts and pkm_values (operators.h); the
// others are what their gradients are made of, and the optimiser's.
#include <torch/library.h>

TORCH_LIBRARY(peerage, m) {
  // Python registers what only it can: which operators have effects beside their results.
  m.def(
      "product_key_top_k(Tensor queries, Tensor sub_keys, int top_k, int? sub_top_k=None) "
      "-> (Tensor scores, Tensor ids)");
  m.def(
      "product_key_top_k_forward(Tensor queries, Tensor sub_keys, int top_k, int? sub_top_k) "
      "-> (Tensor scores, Tensor ids)");
  m.def(
      "product_key_top_k_backward(Tensor grad_scores, Tensor ids, Tensor queries, "
      "Tensor sub_keys) -> (Tensor grad_queries, Tensor grad_sub_keys)");

  m.def(
      "peer_experts(Tensor x, Tensor ids, Tensor weights, Tensor down, Tensor up, "
      "Tensor? gate=None, *, str activation=\"gelu\", str table_gradient=\"dense\", "
      "int ledger=0) -> Tensor");
  m.def(
      "peer_experts_forward(Tensor x, Tensor ids, Tensor weights, Tensor down, Tensor up, "
      "Tensor? gate, str activation) -> (Tensor y, Tensor order, Tensor hidden)");
  m.def(
      "peer_experts_backward(Tensor grad_y, Tensor x, Tensor order, Tensor weights, "
      "Tensor hidden, Tensor down, Tensor up, Tensor? gate, str activation, int ledger) "
      "-> (Tensor grad_x, Tensor grad_weights, Tensor coefficients)");

  m.def(
      "pkm_values(Tensor ids, Tensor weights, Tensor values, *, str table_gradient=\"dense\", "
      "int ledger=0) -> Tensor");
  m.def(
      "pkm_values_forward(Tensor ids, Tensor weights, Tensor values) "
      "-> (Tensor y, Tensor order)");
  m.def(
      "pkm_values_backward(Tensor grad_y, Tensor order, Tensor weights, Tensor values, "
      "int ledger) -> (Tensor grad_weights, Tensor coefficients)");

  m.def(
      "table_gradients(Tensor order, Tensor coefficients, Tensor? x, Tensor grad_y, "
      "SymInt num_rows) -> Tensor[]");
  m.def(
      "table_gradient_rows(Tensor order, Tensor coefficients, Tensor? x, Tensor grad_y, "
      "SymInt num_rows) -> Tensor[]");

  m.def(
      "rowwise_adam_(Tensor(a!) table, Tensor(b!) first_moment, Tensor(c!) second_moment, "
      "Tensor? rows, Tensor gradient, float[] hyperparameters) -> ()");
  m.def(
      "rowwise_adam_ledger_(Tensor(a!)[] tables, Tensor(b!)[] first_moments, "
      "Tensor(c!)[] second_moments, int ledger, float[] hyperparameters) -> ()");

  m.def("count_usage_(Tensor(a!) picks, Tensor(b!) score_sums, Tensor ids, Tensor weights) -> ()");
}
