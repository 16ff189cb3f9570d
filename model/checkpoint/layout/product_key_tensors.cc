#include "model/checkpoint/layout/product_key_tensors.h"

#include <string>
#include <utility>

namespace peerage {
namespace {

class TensorList {
 public:
  void Add(std::string name, std::vector<int64_t> shape, TensorRole role) {
    specs_.push_back({.name = std::move(name), .shape = std::move(shape), .role = role});
  }

  std::vector<TensorSpec> Take() { return std::move(specs_); }

 private:
  std::vector<TensorSpec> specs_;
};

void AddDirectRouter(const ProductKeyConfig& config, int64_t hidden_size, TensorList& list) {
  const int64_t heads = config.heads, n = config.num_sub_keys;
  list.Add("router.weight", {heads, 2, n, hidden_size}, TensorRole::kRouter);
  if (config.query_bias) list.Add("router.bias", {heads, 2, n}, TensorRole::kRouter);
}

void AddQueryNorm(const ProductKeyConfig& config, TensorList& list) {
  if (config.query_norm == QueryNorm::kNone) return;
  const bool batch = config.query_norm == QueryNorm::kBatch;
  const int64_t width = batch ? int64_t{config.heads} * config.key_dim : config.key_dim;
  list.Add("query_norm.weight", {width}, TensorRole::kRouter);
  list.Add("query_norm.bias", {width}, TensorRole::kRouter);
  if (!batch) return;
  list.Add("query_norm.running_mean", {width}, TensorRole::kRouter);
  list.Add("query_norm.running_var", {width}, TensorRole::kVariance);
}

void AddQueryAndKeys(const ProductKeyConfig& config, int64_t hidden_size, TensorList& list) {
  const int64_t heads = config.heads, n = config.num_sub_keys;
  const int64_t key_dim = config.key_dim;
  list.Add("query.weight", {heads * key_dim, hidden_size}, TensorRole::kRouter);
  if (config.query_bias) list.Add("query.bias", {heads * key_dim}, TensorRole::kRouter);
  AddQueryNorm(config, list);
  if (config.keys == ProductKeys::kPerHead) {
    list.Add("sub_keys", {heads, 2, n, key_dim / 2}, TensorRole::kRouter);
  } else {
    list.Add("sub_keys", {2, n, key_dim / 2}, TensorRole::kRouter);
  }
}

}  // namespace

std::vector<TensorSpec> ProductKeyTensors(const FfnConfig& ffn, int64_t hidden_size) {
  const ProductKeyConfig& config = ffn.product_keys;
  TensorList list;
  if (config.norm != PeerNorm::kNone) list.Add("norm.weight", {hidden_size}, TensorRole::kNorm);
  if (config.keys == ProductKeys::kDirect) {
    AddDirectRouter(config, hidden_size, list);
  } else {
    AddQueryAndKeys(config, hidden_size, list);
  }
  const std::vector<int64_t> table = {config.table_rows(), hidden_size};
  if (ffn.kind == FfnKind::kProductKeyMemory) {
    list.Add("values.weight", table, TensorRole::kTable);
    return list.Take();
  }
  list.Add("down.weight", table, TensorRole::kTable);
  list.Add("up.weight", table, TensorRole::kTable);
  if (config.glu) list.Add("gate.weight", table, TensorRole::kTable);
  return list.Take();
}

}  // namespace peerage
